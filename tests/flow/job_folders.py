"""A job's log, and its folders: fixed paths with bubblewrap, below the platform's folder without."""

from pathlib import Path
from typing import Any

from local.embedded_aws import EmbeddedAWS
from splatworks.sandbox.container import MODELS, WORKSPACE, available_isolation


def job_lines(platform: EmbeddedAWS, job: dict[str, Any]) -> list[str]:
    events = platform.client("logs").get_log_events(
        logGroupName=f"/aws/batch/{platform.project_name}-ml-jobs", logStreamName=job["container"]["logStreamName"]
    )["events"]
    return [event["message"] for event in events]


def models_folder(platform: EmbeddedAWS) -> Path:
    return MODELS if available_isolation().mounts else platform.folder / "models"


def code_folder(platform: EmbeddedAWS, job: dict[str, Any]) -> Path:
    """The folder in which the job's script runs."""
    task_id = job["container"]["logStreamName"].rpartition("/")[2]
    workspace = WORKSPACE if available_isolation().mounts else platform.folder / "jobs" / task_id / "workspace"
    return workspace / "code"
