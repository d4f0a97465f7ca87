"""The names of the platform's parts that e-mails mention."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    project_name: str
    output_bucket: str
    job_log_group: str
    trigger_topic_arn: str
