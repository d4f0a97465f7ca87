"""EventBridge, SNS, S3 notifications and queue alarms: route events to their targets."""
