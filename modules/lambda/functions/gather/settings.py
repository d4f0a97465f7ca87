"""Terraform's settings for the monitor, read from its environment when it is called."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from splatworks.report.settings import ReportSettings


@dataclass(frozen=True, kw_only=True)
class MonitorSettings(ReportSettings):
    notification_topic_arn: str
    idempotency_table: str
    link_role_arn: str  # the role whose credentials sign the links of an e-mail
    resume_group: str  # of the schedules that resume runs
    resume_role_arn: str  # as which they publish to the trigger topic
    cancelled_reasons: tuple[str, ...]  # a queue cancels a job that cannot start for one of these reasons

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "MonitorSettings":
        return cls(
            project_name=environment["PROJECT_NAME"],
            output_bucket=environment["OUTPUT_BUCKET"],
            job_log_group=environment["JOB_LOG_GROUP"],
            notification_topic_arn=environment["NOTIFICATION_TOPIC_ARN"],
            trigger_topic_arn=environment["TRIGGER_TOPIC_ARN"],
            idempotency_table=environment["IDEMPOTENCY_TABLE"],
            link_role_arn=environment["LINK_ROLE_ARN"],
            resume_group=environment["RESUME_GROUP"],
            resume_role_arn=environment["RESUME_ROLE_ARN"],
            cancelled_reasons=tuple(json.loads(environment["CANCELLED_REASONS"])),
        )
