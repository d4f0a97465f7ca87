"""Links into the AWS console, which differ by partition and encode twice."""

from urllib.parse import quote

HOSTS = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def log_link(queue_arn: str, region: str, group: str, stream: str) -> str:
    return (
        f"{_console(queue_arn, region)}/cloudwatch/home?region={region}"
        f"#logsV2:log-groups/log-group/{_twice(group)}/log-events/{_twice(stream)}"
    )


def folder_link(queue_arn: str, region: str, bucket: str, prefix: str) -> str:
    return f"{_console(queue_arn, region)}/s3/buckets/{bucket}?region={region}&prefix={quote(prefix, safe='/')}"


def _console(arn: str, region: str) -> str:
    return f"https://{region}.{HOSTS.get(arn.split(':')[1], HOSTS['aws'])}"


def _twice(text: str) -> str:
    """The CloudWatch console decodes its fragment twice, with $ in the place of %."""
    return quote(quote(text, safe=""), safe="").replace("%", "$")
