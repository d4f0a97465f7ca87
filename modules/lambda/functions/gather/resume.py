"""Have the message published that resumes a run: the monitor itself submits nothing."""

import json

from aws.clients import client
from aws.observability import logger
from gather.settings import MonitorSettings
from splatworks.contract.resumes import resume_message, schedule_name
from splatworks.report.email import Resume


def schedule(resume: Resume, settings: MonitorSettings) -> None:
    """Once: the schedule of a resumption always has the same name."""
    scheduler = client("scheduler")
    name = schedule_name(resume.key, resume.number)
    try:
        scheduler.create_schedule(
            Name=name,
            GroupName=settings.resume_group,
            Description=f"Resumes {resume.key}",
            ScheduleExpression=f"at({resume.at:%Y-%m-%dT%H:%M:%S})",
            ScheduleExpressionTimezone="UTC",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target={
                "Arn": settings.trigger_topic_arn,
                "RoleArn": settings.resume_role_arn,
                "Input": json.dumps(resume_message(resume.key, resume.number)),
            },
        )
    except scheduler.exceptions.ConflictException:
        logger.info("scheduled before", key=resume.key, number=resume.number)
