"""Run `make demo`: photos to a scene in a browser page through the platform, on this machine."""

import mimetypes
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.text import Text

from local.batch.jobs import ENDED
from local.demo.display import TerraformBar, bars, show_email, show_publish, show_results, step
from local.demo.results import PAGE, download_run, write_index
from local.embedded_aws import EmbeddedAWS, FolderInUseError
from local.survey.photos import render_survey
from local.terraform.project import TerraformError
from splatworks.cli.local_files import NamedFile, files_in
from splatworks.cli.own_folder import NotOurFolderError, check_replaceable, replace_folder
from splatworks.cli.problems import Problem
from splatworks.contract.keys import RUN

ROOT = Path(__file__).parents[2]
PROJECT = "demo"
MARK = ".splatworks-demo"
DISPATCH_TIMEOUT = 120  # seconds from the message to the run
RUN_TIMEOUT = 4 * 3600  # the user's own photos may be many
CTRL_C = 130
MAX_STEPS = 1_000  # half of a draft: the whole demo is to take minutes


class DemoError(Exception):
    """An error that the user can fix; the text says how."""


def run_demo(photos: Path | None, folder: Path, console: Console) -> bool:
    """Run the pipeline on `photos` (rendered when None), leave the results in `folder`; True when the run succeeded."""
    started = time.monotonic()
    folder = folder.expanduser()
    if photos is not None:
        photos = photos.expanduser()  # zsh leaves the ~ of PHOTOS=~/photos as it is
        check_photos(photos)
    prepare(folder, photos)

    step(console, 1, "Photos")
    photos = photos or render(folder / "survey", console)

    step(console, 2, "An AWS of your own, on this machine")
    with EmbeddedAWS(folder / "aws", log=TerraformBar(console)) as aws:
        run_id = run_pipeline(aws, photos, console)
        succeeded = all(job["status"] == "SUCCEEDED" for job in aws.jobs())
        download_run(aws.client("s3"), aws.outputs["ml_output_bucket"], f"runs/{PROJECT}/{run_id}/", folder)
        shutil.copytree(aws.outbox, folder / "emails")
    ended = f"{'Done' if succeeded else 'The run FAILED'} after {time.monotonic() - started:.0f} s."
    index = write_index(folder, run_id, ended)
    show_results(folder, index, ended, console)
    return succeeded and (folder / PAGE).is_file()


def run_pipeline(aws: EmbeddedAWS, photos: Path, console: Console) -> str:
    """Apply the Terraform, run the pipeline once and show the e-mail. Return the run's id."""
    outputs = aws.apply()

    step(console, 3, "Upload the photos")
    upload(aws, outputs["ml_input_bucket"], photos, console)

    step(console, 4, "Publish one message")
    message = demo_message()
    show_publish(message, outputs, console)
    aws.publish(message)
    run_id = wait_for_run(aws, outputs["ml_output_bucket"])

    step(console, 5, "The run: structure from motion, training, compression")
    watch(aws, run_id, console)

    step(console, 6, "The e-mail")
    show_email(aws.wait_for_email(run_id, timeout=120), console)
    return run_id


def check_photos(photos: Path) -> None:
    if not photos.is_dir():
        raise DemoError(
            f"PHOTOS={photos} is not a folder. Give the folder that holds the photos: make demo PHOTOS=~/my-photos"
        )
    try:
        found = files_in(photos)
    except Problem as problem:
        raise DemoError(f"PHOTOS={problem}") from None
    if not found:
        raise DemoError(
            f"PHOTOS={photos} holds no files. Give a folder with at least 3 overlapping photos of one scene."
        )


def prepare(folder: Path, photos: Path | None) -> None:
    """Empty `folder`: replace the files of an earlier demo, and refuse to touch any others."""
    try:
        check_replaceable(folder, MARK, [photos] if photos is not None else [])
    except NotOurFolderError as refused:
        raise DemoError(
            f"{refused} Move your files elsewhere, or name another folder: python -m local demo --folder DIR"
        ) from None
    replace_folder(folder, MARK)


def render(folder: Path, console: Console) -> Path:
    console.print("  No PHOTOS given: rendering a small aerial survey with GPS in its EXIF.")
    with bars(console) as progress:
        task = progress.add_task("rendering", total=None)
        survey = render_survey(folder, progress=lambda done, total: progress.update(task, completed=done, total=total))
    return survey.photos


def upload(aws: EmbeddedAWS, bucket: str, photos: Path, console: Console) -> None:
    files = files_in(photos)
    s3 = aws.client("s3")

    def put(file: NamedFile) -> None:
        content_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        s3.upload_file(str(file.path), bucket, f"photos/demo/{file.name}", ExtraArgs={"ContentType": content_type})

    with bars(console) as progress, ThreadPoolExecutor(8) as pool:
        for _ in progress.track(pool.map(put, files), total=len(files), description=f"to s3://{bucket}/photos/demo/"):
            pass


def demo_message() -> dict[str, Any]:
    return {
        "trigger_type": "splat_pipeline",
        "data": {
            "input": "photos/demo/",
            "preset": "draft",
            "train": {"compute_type": "cpu", "parameters": {"max_steps": MAX_STEPS}},
            "job_name": "demo",
        },
        "metadata": {"user": "newcomer", "project": PROJECT, "experiment": "Splatworks demo"},
    }


def wait_for_run(aws: EmbeddedAWS, bucket: str) -> str:
    """Return the id of the run that the dispatcher started for the message."""

    def planned() -> str | None:
        found = aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"runs/{PROJECT}/").get("Contents", [])
        runs = [item["Key"].split("/")[2] for item in found if item["Key"].endswith(f"/{RUN}")]
        refusals = [email for email in aws.emails() if "refused" in email.subject.lower()]
        if refusals:
            raise DemoError(f"the dispatcher refused the message:\n{refusals[-1].body}")
        return runs[0] if runs and aws.jobs() else None

    run_id: str = aws.wait_until(planned, DISPATCH_TIMEOUT, what="the dispatcher to start the run")
    return run_id


def watch(aws: EmbeddedAWS, run_id: str, console: Console) -> None:
    """Follow the run with `splatworks status --watch`, as any user would."""
    command = ["splatworks", "status", run_id, "--watch"]
    console.print(f"  {shlex.join(command)}", style="cyan", highlight=False, markup=False)
    subprocess.run([sys.executable, "-m", *command], env=aws.program_environment(), cwd=ROOT, timeout=RUN_TIMEOUT)  # noqa: S603
    # Even if `status --watch` failed, the demo continues once the run is over.
    aws.wait_until(lambda: all(job["status"] in ENDED for job in aws.jobs()), RUN_TIMEOUT, what="the run to end")


def main(photos: Path | None, folder: Path) -> int:
    console = Console(width=max(100, Console().width)) if not sys.stdout.isatty() else Console()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return 0 if run_demo(photos, folder, console) else 1
    except KeyboardInterrupt:
        console.print("\nstopped; the jobs are ended and the embedded AWS is gone")
        return CTRL_C
    except (DemoError, TerraformError, FolderInUseError, TimeoutError, subprocess.TimeoutExpired) as error:
        console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        return 2


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
