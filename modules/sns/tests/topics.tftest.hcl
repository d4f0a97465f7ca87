mock_provider "aws" {
  override_during = plan

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:topic" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }
}

variables {
  project_name        = "demo"
  account_id          = "123456789012"
  notification_emails = ["one@example.com", "two@example.com"]
}

run "topics_are_encrypted" {
  command = plan

  assert {
    condition     = aws_sns_topic.trigger.kms_master_key_id == "alias/aws/sns"
    error_message = "Messages are encrypted, and publishing needs no key of its own."
  }

  assert {
    condition     = aws_sns_topic.notification.kms_master_key_id == aws_kms_key.notification.arn && aws_kms_key.notification.enable_key_rotation
    error_message = "Alarms cannot publish to a topic that is encrypted with the AWS-managed key."
  }
}

run "alarms_of_this_account_may_publish" {
  command = plan

  assert {
    condition = anytrue([
      for s in data.aws_iam_policy_document.notification_topic.statement :
      s.sid == "Alarms" && one(s.principals[*].identifiers) == toset(["cloudwatch.amazonaws.com"]) && one(s.condition[*].values) == tolist(["123456789012"])
    ])
    error_message = "CloudWatch may publish, for alarms of this account."
  }

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.notification_key.statement : tolist(s.actions)
      if one(s.principals[*].identifiers) == toset(["cloudwatch.amazonaws.com"])
    ])) == toset(["kms:Decrypt", "kms:GenerateDataKey*"])
    error_message = "CloudWatch uses the key, without which its alarms are lost, and cannot manage it."
  }
}

run "nothing_is_published_without_tls" {
  command = plan

  assert {
    condition = alltrue([
      for document in [data.aws_iam_policy_document.trigger_topic, data.aws_iam_policy_document.notification_topic] :
      anytrue([for s in document.statement : s.effect == "Deny" && one(s.condition[*].variable) == "aws:SecureTransport"])
    ])
    error_message = "Both topics refuse a publisher without TLS."
  }
}

run "everyone_gets_the_emails" {
  command = plan

  assert {
    condition     = toset([for subscription in aws_sns_topic_subscription.email : subscription.endpoint if subscription.protocol == "email"]) == toset(var.notification_emails)
    error_message = "One subscription per address."
  }
}
