mock_provider "aws" {
  override_during = plan

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }

  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/demo-ml-idempotency" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:mock" }
  }

  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:us-east-1:123456789012:function:mock" }
  }

  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:us-east-1:123456789012:rule/demo-ml-job-ended" }
  }

  override_resource {
    target          = aws_sqs_queue.trigger_dlq
    override_during = plan
    values          = { arn = "arn:aws:sqs:us-east-1:123456789012:demo-ml-trigger-dlq", url = "https://sqs/demo-ml-trigger-dlq" }
  }

  override_resource {
    target          = aws_sqs_queue.monitor_dlq
    override_during = plan
    values          = { arn = "arn:aws:sqs:us-east-1:123456789012:demo-ml-monitor-dlq", url = "https://sqs/demo-ml-monitor-dlq" }
  }
}

variables {
  project_name           = "demo"
  account_id             = "123456789012"
  aws_region             = "us-east-1"
  zip_path               = "main.tf" # any file: what is in it matters to no plan
  trigger_topic_arn      = "arn:aws:sns:us-east-1:123456789012:demo-trigger-events"
  notification_topic_arn = "arn:aws:sns:us-east-1:123456789012:demo-notifications"
  notification_key_arn   = "arn:aws:kms:us-east-1:123456789012:key/1"
  input_bucket           = { name = "in", arn = "arn:aws:s3:::in" }
  output_bucket          = { name = "out", arn = "arn:aws:s3:::out" }
  models_bucket          = { name = "models", arn = "arn:aws:s3:::models" }
  extra_buckets          = ["mine"]
  queue_arns             = ["arn:aws:batch:us-east-1:123456789012:job-queue/demo-ml-gpu-job-queue"]
  start_on_upload        = false
  repository_arns        = ["arn:aws:ecr:us-east-1:123456789012:repository/demo-ml-python"]
  job_definition_names   = { gpu = "demo-ml-gpu" }
  cancelled_reasons      = ["CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"]
  retry_rules            = [{ onStatusReason = "Host EC2*", action = "RETRY" }, { onReason = "*", action = "EXIT" }]
  job_attempts           = 3
  job_timeout_seconds    = 21600
  job_log_group          = { name = "/aws/batch/demo-ml-jobs", arn = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/batch/demo-ml-jobs" }
  log_retention_days     = 30

  compute = {
    gpu = {
      queue           = "arn:aws:batch:us-east-1:123456789012:job-queue/demo-ml-gpu-job-queue"
      on_demand_queue = null
      job_definition  = "arn:aws:batch:us-east-1:123456789012:job-definition/demo-ml-gpu:1"
      vcpus           = 4
      memory          = 15000
      gpus            = 1
      max_vcpus       = 48
      instances       = [{ type = "g4dn.xlarge", vcpus = 4, memory = 15123, gpus = 1 }]
      image           = "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/python:latest"
    }
  }
}

run "functions_have_the_names_that_people_type" {
  command = plan

  assert {
    condition     = [aws_lambda_function.dispatcher.function_name, aws_lambda_function.monitor.function_name] == ["demo-ml-trigger-dispatcher", "demo-ml-job-monitor"]
    error_message = "These names stand in people's scripts."
  }

  assert {
    condition     = [aws_cloudwatch_log_group.dispatcher.name, aws_cloudwatch_log_group.monitor.name] == ["/aws/lambda/demo-ml-trigger-dispatcher", "/aws/lambda/demo-ml-job-monitor"]
    error_message = "Lambda writes to the log group of the function's name."
  }

  assert {
    condition     = [aws_cloudwatch_log_group.dispatcher.retention_in_days, aws_cloudwatch_log_group.monitor.retention_in_days] == [30, 30]
    error_message = "Logs end after the days that were set."
  }

  assert {
    condition     = [aws_lambda_function.dispatcher.handler, aws_lambda_function.monitor.handler] == ["dispatcher.handler", "monitor.handler"]
    error_message = "Both handlers are in the one zip."
  }
}

run "functions_get_the_environment_of_the_contract" {
  command = plan

  assert {
    condition = toset(keys(aws_lambda_function.dispatcher.environment[0].variables)) == toset([
      "PROJECT_NAME", "INPUT_BUCKET", "OUTPUT_BUCKET", "MODELS_BUCKET", "EXTRA_INPUT_BUCKETS", "COMPUTE", "RETRY_RULES",
      "JOB_ATTEMPTS", "JOB_TIMEOUT_SECONDS", "NOTIFICATION_TOPIC_ARN", "TRIGGER_TOPIC_ARN", "TRIGGER_DLQ_URL", "IDEMPOTENCY_TABLE",
      "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL",
    ])
    error_message = "docs/contracts.md lists what the dispatcher gets."
  }

  assert {
    condition = toset(keys(aws_lambda_function.monitor.environment[0].variables)) == toset([
      "PROJECT_NAME", "OUTPUT_BUCKET", "NOTIFICATION_TOPIC_ARN", "TRIGGER_TOPIC_ARN", "IDEMPOTENCY_TABLE", "JOB_LOG_GROUP", "LINK_ROLE_ARN", "CANCELLED_REASONS",
      "RESUME_GROUP", "RESUME_ROLE_ARN",
      "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL",
    ])
    error_message = "docs/contracts.md lists what the monitor gets."
  }

  assert {
    condition     = jsondecode(aws_lambda_function.dispatcher.environment[0].variables.COMPUTE).gpu.on_demand_queue == null && jsondecode(aws_lambda_function.dispatcher.environment[0].variables.COMPUTE).gpu.instances[0].memory == 15123
    error_message = "COMPUTE says what there is and what it can hold."
  }

  assert {
    condition     = aws_lambda_function.dispatcher.environment[0].variables.RETRY_RULES == "[{\"action\":\"RETRY\",\"onStatusReason\":\"Host EC2*\"},{\"action\":\"EXIT\",\"onReason\":\"*\"}]"
    error_message = "The rules travel in order, in the words of AWS Batch."
  }

  assert {
    condition     = aws_lambda_function.dispatcher.environment[0].variables.TRIGGER_DLQ_URL == aws_sqs_queue.trigger_dlq.url
    error_message = "Refused messages go to the queue that the output names."
  }
}

run "nothing_is_lost" {
  command = plan

  assert {
    condition = (
      aws_lambda_function.dispatcher.dead_letter_config[0].target_arn == aws_sqs_queue.trigger_dlq.arn &&
      aws_lambda_function.monitor.dead_letter_config[0].target_arn == aws_sqs_queue.monitor_dlq.arn &&
      aws_cloudwatch_event_target.monitor.dead_letter_config[0].arn == aws_sqs_queue.monitor_dlq.arn &&
      aws_cloudwatch_event_target.run_settled.dead_letter_config[0].arn == aws_sqs_queue.monitor_dlq.arn
    )
    error_message = "What fails is kept: messages in one queue, events in the other, whoever could not deliver them."
  }

  assert {
    condition     = alltrue([for target in [aws_cloudwatch_event_target.monitor, aws_cloudwatch_event_target.run_settled, aws_cloudwatch_event_target.queue_blocked] : target.retry_policy[0].maximum_retry_attempts > 0])
    error_message = "An event is tried again before it is put aside."
  }

  assert {
    condition     = alltrue([for q in [aws_sqs_queue.trigger_dlq, aws_sqs_queue.monitor_dlq] : q.message_retention_seconds == 1209600 && q.sqs_managed_sse_enabled])
    error_message = "Two weeks to look, encrypted."
  }

  assert {
    condition = anytrue([
      for s in data.aws_iam_policy_document.monitor_dlq.statement :
      one(s.principals[*].identifiers) == toset(["events.amazonaws.com"]) && one(s.condition[*].values) == tolist([for rule in ["demo-ml-job-ended", "demo-ml-run-settled", "demo-ml-queue-blocked"] : "arn:aws:events:us-east-1:123456789012:rule/${rule}"])
    ]) && [aws_cloudwatch_event_rule.job_ended.name, aws_cloudwatch_event_rule.run_settled.name, aws_cloudwatch_event_rule.queue_blocked.name] == ["demo-ml-job-ended", "demo-ml-run-settled", "demo-ml-queue-blocked"]
    error_message = "EventBridge may put events aside, from these rules only."
  }
}

run "ended_jobs_of_our_queues_are_reported_and_no_others" {
  command = plan

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.job_ended.event_pattern) == {
      source      = ["aws.batch"]
      detail-type = ["Batch Job State Change"]
      detail = {
        status          = ["SUCCEEDED", "FAILED"]
        jobQueue        = ["arn:aws:batch:us-east-1:123456789012:job-queue/demo-ml-gpu-job-queue"]
        arrayProperties = { index = [{ exists = false }] }
      }
    }
    error_message = "Other queues of the account are not ours to report, and an array is reported as a whole."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.run_settled.event_pattern) == { source = ["demo"], detail-type = ["Pipeline Run Settled"] }
    error_message = "Runs that need no job are reported too; those of other projects are not ours."
  }

  assert {
    condition     = aws_lambda_permission.job_ended.source_arn == aws_cloudwatch_event_rule.job_ended.arn && aws_lambda_permission.run_settled.source_arn == aws_cloudwatch_event_rule.run_settled.arn && aws_lambda_permission.queue_blocked.source_arn == aws_cloudwatch_event_rule.queue_blocked.arn && aws_lambda_permission.trigger_topic.source_arn == var.trigger_topic_arn
    error_message = "Only our rule and our topic start the functions."
  }
}

run "uploads_start_nothing_unless_asked" {
  command = plan

  assert {
    condition     = length(aws_cloudwatch_event_rule.upload) + length(aws_cloudwatch_event_target.upload) + length(aws_lambda_permission.upload) == 0
    error_message = "No rule, no target, no permission without start_on_upload."
  }

  assert {
    condition     = [for s in data.aws_iam_policy_document.trigger_dlq.statement : s.sid] == ["TlsOnly"]
    error_message = "EventBridge has nothing to put aside."
  }
}

run "uploads_start_pipelines_when_asked" {
  command = plan

  variables {
    start_on_upload = true
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.upload[0].event_pattern) == {
      source      = ["aws.s3"]
      detail-type = ["Object Created"]
      detail = {
        bucket = { name = ["in"] }
        object = { key = [{ wildcard = "photos/*/_READY" }, { wildcard = "photos/*.zip" }, { wildcard = "photos/*.ZIP" }] }
      }
    }
    error_message = "Uploads that say that photos are complete, in the input bucket."
  }

  assert {
    condition = (
      aws_cloudwatch_event_target.upload[0].arn == aws_lambda_function.dispatcher.arn &&
      aws_cloudwatch_event_target.upload[0].dead_letter_config[0].arn == aws_sqs_queue.trigger_dlq.arn &&
      aws_cloudwatch_event_target.upload[0].retry_policy[0].maximum_retry_attempts > 0 &&
      aws_lambda_permission.upload[0].source_arn == aws_cloudwatch_event_rule.upload[0].arn &&
      aws_lambda_permission.upload[0].principal == "events.amazonaws.com"
    )
    error_message = "The rule, and no other, starts the dispatcher; what fails is kept."
  }

  assert {
    condition = anytrue([
      for s in data.aws_iam_policy_document.trigger_dlq.statement :
      one(s.principals[*].identifiers) == toset(["events.amazonaws.com"]) && one(s.condition[*].values) == tolist(["arn:aws:events:us-east-1:123456789012:rule/demo-ml-upload"])
    ]) && aws_cloudwatch_event_rule.upload[0].name == "demo-ml-upload"
    error_message = "EventBridge may put events aside, from this rule only."
  }
}

run "a_message_is_remembered_and_forgotten" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.idempotency.hash_key == "id" && aws_dynamodb_table.idempotency.ttl[0].attribute_name == "expiration" && aws_dynamodb_table.idempotency.ttl[0].enabled
    error_message = "Powertools writes id and expiration."
  }

  assert {
    condition     = aws_dynamodb_table.idempotency.billing_mode == "PAY_PER_REQUEST"
    error_message = "Idle, it costs nothing."
  }
}

run "the_dispatcher_submits_to_our_queues_only" {
  command = plan

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.dispatcher.statement : tolist(s.resources) if contains(s.actions, "batch:SubmitJob")
    ])) == toset(concat(var.queue_arns, ["arn:aws:batch:us-east-1:123456789012:job-definition/demo-ml-gpu", "arn:aws:batch:us-east-1:123456789012:job-definition/demo-ml-gpu:*"]))
    error_message = "Our queues, our job definitions, in every revision."
  }

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.dispatcher.statement : tolist(s.resources) if contains(s.actions, "s3:PutObject")
    ])) == toset(["arn:aws:s3:::out/runs/*"])
    error_message = "It writes requests and nothing else."
  }

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.dispatcher.statement : tolist(s.resources) if contains(s.actions, "s3:GetObject")
      ])) == toset([
      "arn:aws:s3:::in/stages/*", "arn:aws:s3:::in/jobs/*", "arn:aws:s3:::in/examples/*", "arn:aws:s3:::out/runs/*", "arn:aws:s3:::out/reuse/*",
      "arn:aws:s3:::in/*.json", "arn:aws:s3:::out/*.json", "arn:aws:s3:::models/*.json", "arn:aws:s3:::mine/*.json",
    ])
    error_message = "It sees scripts, lists of scenes and earlier results, and no photos."
  }

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.dispatcher.statement : tolist(s.resources) if contains(s.actions, "ecr:DescribeImages")
    ])) == toset(["arn:aws:ecr:us-east-1:123456789012:repository/demo-ml-python", "arn:aws:ecr:us-east-1:123456789012:repository/team/python"])
    error_message = "It asks for the digests of the images of jobs: of our repositories, and of the one that COMPUTE names."
  }

  assert {
    condition = one([
      for s in data.aws_iam_policy_document.dispatcher.statement : { on = tolist(s.resources), of = one(s.condition[*].values) } if contains(s.actions, "events:PutEvents")
    ]) == { on = tolist(["arn:aws:events:us-east-1:123456789012:event-bus/default"]), of = tolist(["demo"]) }
    error_message = "It puts events of its own name on the default bus."
  }
}

run "the_monitor_only_reads_and_reports" {
  command = plan

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.monitor.statement : [for action in s.actions : action if length(regexall(":(Put|Send|Publish|Update|Delete|Create|Generate|Assume)", action)) > 0]
      ])) == toset([
      "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "sns:Publish", "kms:GenerateDataKey", "sqs:SendMessage", "logs:CreateLogStream", "logs:PutLogEvents",
      "s3:PutObject", "sts:AssumeRole", "scheduler:CreateSchedule",
    ])
    error_message = "It cannot touch jobs, nor results."
  }

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.monitor.statement : tolist(s.resources) if contains(s.actions, "s3:PutObject")
    ])) == toset(["arn:aws:s3:::out/runs/*/leaderboard.csv", "arn:aws:s3:::out/runs/*/failed.json", "arn:aws:s3:::out/runs/*/continue.json"])
    error_message = "It writes tables beside results, under their names only."
  }

  assert {
    condition = toset(flatten([
      for s in data.aws_iam_policy_document.monitor.statement : tolist(s.resources) if contains(s.actions, "sts:AssumeRole")
    ])) == toset([aws_iam_role.run_links.arn])
    error_message = "It may become the role of the links, and no other."
  }
}

run "a_resumption_is_a_message_to_the_trigger_topic_and_nothing_else" {
  command = plan

  assert {
    condition = jsonencode([for s in data.aws_iam_policy_document.resume.statement : { actions = s.actions, resources = s.resources }]) == jsonencode([
      { actions = ["sns:Publish"], resources = ["arn:aws:sns:us-east-1:123456789012:demo-trigger-events"] }
    ])
    error_message = "The schedules' role publishes to one topic."
  }

  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.assume_resume.statement :
      one(s.principals).identifiers == toset(["scheduler.amazonaws.com"]) &&
      { for c in s.condition : c.variable => one(c.values) } == {
        "aws:SourceAccount" = "123456789012", "aws:SourceArn" = "arn:aws:scheduler:us-east-1:123456789012:schedule-group/demo-ml-resume"
      }
    ]) && length(data.aws_iam_policy_document.assume_resume.statement) == 1
    error_message = "Only schedules of the platform's own group act as the role."
  }

  assert {
    condition = jsonencode([
      for s in data.aws_iam_policy_document.monitor.statement : s.resources if contains(s.actions, "scheduler:CreateSchedule")
    ]) == jsonencode([["arn:aws:scheduler:us-east-1:123456789012:schedule/demo-ml-resume/*"]])
    error_message = "The monitor makes schedules in that group only."
  }

  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.monitor.statement :
      tolist(s.resources) == tolist([aws_iam_role.resume.arn]) && one(one(s.condition).values) == "scheduler.amazonaws.com" if contains(s.actions, "iam:PassRole")
    ])
    error_message = "It hands that role to the scheduler, and to nothing else."
  }

  assert {
    condition     = aws_scheduler_schedule_group.resume.name == "demo-ml-resume" && aws_iam_role.resume.name == "demo-ml-resume"
    error_message = "The e-mail and the command line name the group."
  }
}

run "a_link_reads_results_and_nothing_else" {
  command = plan

  assert {
    condition = jsonencode([for s in data.aws_iam_policy_document.run_links.statement : { actions = s.actions, resources = s.resources }]) == jsonencode([
      { actions = ["s3:GetObject"], resources = ["arn:aws:s3:::out/runs/*"] }
    ])
    error_message = "Links are handed on: they must open results, and nothing but results."
  }

  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.assume_run_links.statement :
      tolist(s.actions) == tolist(["sts:AssumeRole"]) && one(s.principals).type == "AWS" && one(s.principals).identifiers == toset([aws_iam_role.monitor.arn])
    ]) && length(data.aws_iam_policy_document.assume_run_links.statement) == 1
    error_message = "Only the monitor signs links."
  }

  assert {
    condition     = aws_iam_role.run_links.name == "demo-ml-run-links" && aws_iam_role.run_links.max_session_duration == 3600
    error_message = "No longer than an hour, which is what the e-mail says."
  }
}

run "nothing_is_allowed_wholesale" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for document in [data.aws_iam_policy_document.dispatcher, data.aws_iam_policy_document.monitor, data.aws_iam_policy_document.run_links] :
      [for s in document.statement : [for action in s.actions : !strcontains(action, "*")]]
    ]))
    error_message = "Each action is named."
  }

  assert {
    condition = toset(flatten([
      for document in [data.aws_iam_policy_document.dispatcher, data.aws_iam_policy_document.monitor] :
      [for s in document.statement : tolist(s.actions) if contains(s.resources, "*")]
    ])) == toset(["batch:ListJobs", "batch:DescribeJobs"])
    error_message = "Only calls that know no resources, and only read, are allowed on all."
  }
}

run "without_the_zip_apply_says_what_to_run" {
  command = plan

  variables {
    zip_path = "not-built.zip"
  }

  expect_failures = [aws_lambda_function.dispatcher, aws_lambda_function.monitor]
}

run "settings_that_lambda_would_refuse_are_refused_at_plan_time" {
  command = plan

  variables {
    extra_buckets = [for n in range(150) : "a-bucket-with-a-long-name-${n}"]
  }

  expect_failures = [aws_lambda_function.dispatcher]
}
