"""`make demo`: photos to a COLMAP model through the whole platform, on this machine, leaving a folder to look at."""

import json
import mimetypes
import re
import shlex
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from local.embedded_aws import Email, EmbeddedAWS, FolderInUseError
from local.survey import render_survey
from local.terraform_project import TerraformError

JOB_TIMEOUT = 3600  # seconds; the user's own photos may be many
ENDED = ("SUCCEEDED", "FAILED")


class DemoError(Exception):
    """Something the user can mend; the text says how."""


def run_demo(photos: Path | None, folder: Path, console: Console) -> bool:
    """Run the main job on `photos` (rendered when None), leave the results in `folder`; True when the job succeeded."""
    started = time.monotonic()
    if photos is not None:
        check_photos(photos)
    prepare(folder)

    step(console, 1, "Photos")
    photos = photos or render(folder / "survey", console)

    step(console, 2, "An AWS of your own, on this machine")
    with EmbeddedAWS(folder / "aws", log=TerraformBar(console)) as aws:
        outputs = aws.apply()

        step(console, 3, "Upload the photos")
        upload(aws, outputs["ml_input_bucket"], photos, console)

        step(console, 4, "Publish one message")
        message = demo_message()
        show_publish(message, outputs, console)
        aws.publish(message)

        step(console, 5, "The job")
        job = watch(aws, outputs["ml_output_bucket"], console)

        step(console, 6, "The e-mail")
        email = aws.wait_for_email(job["jobName"], timeout=60)
        console.print(Panel(email.body, title=email.subject, subtitle=f"to {email.to}", highlight=False))

        download(aws, outputs["ml_output_bucket"], folder)
        index = write_index(folder, job, photos, aws.emails())

    succeeded = bool(job["status"] == "SUCCEEDED")
    console.print()
    console.print(f"{'Done' if succeeded else 'The job failed'} after {time.monotonic() - started:.0f} s. Look at:")
    console.print(f"  {index}  what is where", highlight=False)
    for name in ("scene/report.html", "scene/report.json", "scene/sparse/0", "emails"):
        if (folder / name).exists():
            console.print(f"  {folder / name}", highlight=False)
    return succeeded


def check_photos(photos: Path) -> None:
    if not photos.is_dir():
        raise DemoError(
            f"PHOTOS={photos} is not a folder. Give the folder that holds the photos: make demo PHOTOS=~/my-photos"
        )
    if not any(path.is_file() for path in photos.rglob("*")):
        raise DemoError(
            f"PHOTOS={photos} holds no files. Give a folder with at least 3 overlapping photos of one scene."
        )


def prepare(folder: Path) -> None:
    """An empty `folder`; what an earlier demo left there is replaced, anything else is not touched."""
    mark = folder / ".splatworks-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise DemoError(
            f"{folder} holds files that no demo wrote. Move them away, or name another folder with --folder."
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()


def step(console: Console, number: int, title: str) -> None:
    console.print(f"\n[bold]{number}/6 {title}[/]")


def bars(console: Console) -> Progress:
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


class TerraformBar:
    """A log for the embedded AWS that turns its lines `3/133 <resource>` into a bar (in a file: every 20th line)."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None

    def __call__(self, line: str) -> None:
        count = re.match(r"(\d+)/(\d+) ", line)
        if not count:
            self._console.print(f"  {line}", highlight=False)
        elif self._console.is_terminal:
            self._advance(int(count[1]), int(count[2]))
        elif int(count[1]) % 20 == 0 or count[1] == count[2]:
            self._console.print(f"  {line}", highlight=False)

    def _advance(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = bars(self._console)
            self._bar.add_task("terraform apply", total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)
        if done == total:
            self._bar.stop()


def render(folder: Path, console: Console) -> Path:
    console.print("  No PHOTOS given: rendering a small aerial survey with GPS in its EXIF.")
    with bars(console) as progress:
        task = progress.add_task("rendering", total=None)
        survey = render_survey(folder, progress=lambda done, total: progress.update(task, completed=done, total=total))
    return survey.photos


def upload(aws: EmbeddedAWS, bucket: str, photos: Path, console: Console) -> None:
    files = sorted(path for path in photos.rglob("*") if path.is_file())
    s3 = aws.client("s3")

    def put(path: Path) -> None:
        content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        key = f"photos/demo/{path.relative_to(photos).as_posix()}"
        s3.upload_file(str(path), bucket, key, ExtraArgs={"ContentType": content_type})

    with bars(console) as progress, ThreadPoolExecutor(8) as pool:
        for _ in progress.track(pool.map(put, files), total=len(files), description=f"to s3://{bucket}/photos/demo/"):
            pass


def demo_message() -> dict[str, Any]:
    return {
        "trigger_type": "batch_job",
        "data": {
            "script_key": "stages/sfm.py",
            "compute_type": "cpu",
            "input": "photos/demo/",
            "job_name": "demo-sfm",
        },
        "metadata": {"user": "newcomer", "project": "demo", "experiment": "first"},
    }


def show_publish(message: dict[str, Any], outputs: dict[str, str], console: Console) -> None:
    console.print("  On your own account you would type the same:")
    text = shlex.quote(json.dumps(message))
    command = f"aws sns publish --topic-arn {outputs['trigger_events_topic_arn']} --message {text}"
    console.print(f"  {command}", style="cyan", highlight=False, soft_wrap=True)


def watch(aws: EmbeddedAWS, bucket: str, console: Console) -> dict[str, Any]:
    """Follow the job as anyone can: its state from Batch, how far it is from progress.json. Returns the ended job."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    deadline = time.monotonic() + JOB_TIMEOUT
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("waiting for the dispatcher", total=1.0)
        while time.monotonic() < deadline:
            jobs = [job for job in aws.jobs() if job["jobName"].startswith("demo-sfm")]
            if jobs:
                job = aws.job(jobs[0]["jobId"])
                if job["status"] in ENDED:
                    progress.update(task, description=f"{job['jobName']}: {job['status']}", completed=1.0)
                    return job
                done = stage_progress(aws, bucket)
                text = f"{job['jobName']}: {job['status']} {done.get('message', '')}"
                progress.update(task, description=text, completed=done.get("fraction", 0.0))
            elif refusals := [email for email in aws.emails() if "refused" in email.subject.lower()]:
                raise DemoError(f"the dispatcher refused the message:\n{refusals[-1].body}")
            time.sleep(0.5)
    raise DemoError(f"the job did not end within {JOB_TIMEOUT} s; its log is in {aws.outbox.parent}")


def stage_progress(aws: EmbeddedAWS, bucket: str) -> dict[str, Any]:
    s3 = aws.client("s3")
    found = s3.list_objects_v2(Bucket=bucket, Prefix="runs/demo/").get("Contents", [])
    keys = [item["Key"] for item in found if item["Key"].endswith("/progress.json")]
    if not keys:
        return {}
    progress: dict[str, Any] = json.load(s3.get_object(Bucket=bucket, Key=keys[0])["Body"])
    return progress


def download(aws: EmbeddedAWS, bucket: str, folder: Path) -> None:
    """The run's outputs to folder/scene, as `aws s3 cp --recursive` would; the e-mails to folder/emails."""
    s3 = aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="runs/demo/")
    for item in (item for page in pages for item in page.get("Contents", [])):
        # runs/demo/<run>/sfm/<path>
        path = folder / "scene" / item["Key"].split("/", 4)[4]
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, item["Key"], str(path))
    shutil.copytree(aws.outbox, folder / "emails")


def write_index(folder: Path, job: dict[str, Any], photos: Path, emails: list[Email]) -> Path:
    lines = [
        "# What the demo left here",
        "",
        f"Job `{job['jobName']}` ended as {job['status']}. Photos came from `{photos}`.",
        "",
        "| where | what |",
        "|---|---|",
        "| scene/images/ | undistorted photos |",
        "| scene/sparse/0/ | the COLMAP model (PINHOLE cameras) that every trainer reads |",
        "| scene/report.json, scene/report.html | how good the model is, photo by photo |",
        "| scene/result.json | the stage's verdict, in numbers |",
        "| scene/job.json | the runner's: machine, seconds, memory, cost, hashes |",
        "| scene/request.json | the message as the dispatcher understood it |",
        f"| emails/ | {len(emails)} e-mail{'s' if len(emails) != 1 else ''}, as the platform sent them |",
        "| survey/ | the rendered photos, and the exact poses they were taken from (truth/) |",
        "| aws/ | the embedded AWS: Terraform's working folder, logs |",
    ]
    kept = [line for line in lines if not line.startswith("| ") or any_exists(folder, line)]
    index = folder / "index.md"
    index.write_text("\n".join(kept) + "\n")
    return index


def any_exists(folder: Path, row: str) -> bool:
    names = row.split("|")[1].split(",")
    return names[0].strip() == "where" or any((folder / name.strip()).exists() for name in names)


def main(photos: Path | None, folder: Path) -> int:
    console = Console(width=max(100, Console().width)) if not sys.stdout.isatty() else Console()
    try:
        return 0 if run_demo(photos, folder, console) else 1
    except (DemoError, TerraformError, FolderInUseError, TimeoutError) as error:
        console.print(f"[bold red]error:[/] {error}", highlight=False)
        return 2
