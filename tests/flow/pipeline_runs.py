"""What the tests of the pipeline do with the platform: publish, wait for the run's e-mail, look into its files."""

import hashlib
import json
import shlex
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.embedded_aws import Email, EmbeddedAWS

VIEWER = Path(__file__).parents[2] / "jobs" / "viewer" / "supersplat-viewer.json"
PROJECT = "flow"
PATIENCE = 420  # seconds; a run takes less than a minute where the machine has nothing else to do
# Few steps on few small photos: the tests are about the chain. What each stage can do has tests of its own.
DRAFT: dict[str, Any] = {
    "preset": "draft",
    "train": {
        "compute_type": "cpu",
        "parameters": {"max_steps": 300, "plateau_gain": 0, "flythrough_seconds": 0, "checkpoint_seconds": 1},
    },
    "compress": {"parameters": {"levels": 1, "turntable_frames": 0, "views": 1, "view_size": 128, "order": "morton"}},
}


@dataclass(frozen=True)
class Run:
    aws: EmbeddedAWS
    id: str
    project: str = PROJECT

    @property
    def folder(self) -> str:
        return f"runs/{self.project}/{self.id}/"

    def job(self, stage: str) -> dict[str, Any]:
        (found,) = [job for job in self.aws.jobs() if job["jobName"] == f"{self.id}-{stage}"]
        return found

    def jobs(self) -> list[str]:
        """Names of all jobs of the run, oldest first."""
        return [job["jobName"] for job in reversed(self.aws.jobs()) if job["jobName"].startswith(self.id)]

    def email(self, timeout: float = PATIENCE) -> Email:
        return self.aws.wait_for_email(self.id, timeout=timeout)

    def emails(self) -> list[Email]:
        return [email for email in self.aws.emails() if self.id in email.subject]

    def keys(self, below: str = "") -> set[str]:
        prefix = f"{self.folder}{below}"
        pages = self.aws.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.aws.outputs["ml_output_bucket"], Prefix=prefix)
        return {item["Key"].removeprefix(prefix) for page in found for item in page.get("Contents", [])}

    def read(self, name: str) -> bytes:
        bucket = self.aws.outputs["ml_output_bucket"]
        content: bytes = self.aws.client("s3").get_object(Bucket=bucket, Key=f"{self.folder}{name}")["Body"].read()
        return content

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def log(self, stage: str) -> list[str]:
        job = self.aws.job(self.job(stage)["jobId"])
        attempts = [attempt["container"] for attempt in job["attempts"]] + [job["container"]]
        streams = dict.fromkeys(each["logStreamName"] for each in attempts if "logStreamName" in each)
        group = f"/aws/batch/{self.aws.project_name}-ml-jobs"
        lines: list[str] = []
        for stream in streams:
            events = self.aws.client("logs").get_log_events(logGroupName=group, logStreamName=stream)["events"]
            lines += [event["message"] for event in events]
        return lines


def publish(aws: EmbeddedAWS, name: str, data: dict[str, Any], **options: Any) -> Run:
    """A message of this name; the run's id follows from its request_id, as docs/contracts.md says."""
    request_id = uuid.uuid4().hex
    whole = {**DRAFT, **data, "job_name": name, "request_id": request_id}
    message = {"trigger_type": "splat_pipeline", "data": whole, "metadata": {"user": "ann", "project": PROJECT}}
    aws.publish(message, **options)
    return Run(aws, f"{name}-{hashlib.sha256(request_id.encode()).hexdigest()[:12]}")


def need_viewer() -> None:
    """Skip without the web viewer, which the compress stage puts into its pages."""
    if not VIEWER.is_file():
        pytest.skip(f"needs jobs/viewer/{VIEWER.name}: make viewer, with a way to registry.npmjs.org or npm")


def upload(aws: EmbeddedAWS, photos: list[Path], prefix: str) -> str:
    for photo in photos:
        aws.client("s3").upload_file(str(photo), aws.outputs["ml_input_bucket"], f"{prefix}{photo.name}")
    return prefix


def command_in(email: Email) -> dict[str, Any]:
    """The message in the e-mail's `aws sns publish`, as a shell would read it."""
    (line,) = [line.strip() for line in email.body.splitlines() if line.strip().startswith("aws sns publish")]
    words = shlex.split(line)
    message: dict[str, Any] = json.loads(words[words.index("--message") + 1])
    return message
