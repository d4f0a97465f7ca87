"""`make demo`: photos to a scene in a browser page through the whole platform, on this machine."""

import json
import mimetypes
import re
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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from local.demo.results import PAGE, download_run, write_index
from local.embedded_aws import ENDED, Email, EmbeddedAWS, FolderInUseError
from local.survey.photos import render_survey
from local.terraform.project import TerraformError
from splatworks.local_files import NamedFile, files_in
from splatworks.own_folder import NotOurFolderError, check_replaceable, replace_folder
from splatworks.problems import Problem

ROOT = Path(__file__).parents[2]
PROJECT = "demo"
MARK = ".splatworks-demo"
DISPATCH_TIMEOUT = 120  # seconds from the message to the run
RUN_TIMEOUT = 4 * 3600  # the user's own photos may be many
CTRL_C = 130
MAX_STEPS = 1_000  # half of a draft: the whole demo is to take minutes


class DemoError(Exception):
    """Something the user can mend; the text says how."""


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
        email = aws.wait_for_email(run_id, timeout=120)
        show_email(email, console)
        succeeded = all(job["status"] == "SUCCEEDED" for job in aws.jobs())

        download_run(aws.client("s3"), outputs["ml_output_bucket"], f"runs/{PROJECT}/{run_id}/", folder)
        shutil.copytree(aws.outbox, folder / "emails")
    ended = f"{'Done' if succeeded else 'The run FAILED'} after {time.monotonic() - started:.0f} s."
    index = write_index(folder, run_id, ended)
    show_results(folder, index, ended, console)
    return succeeded and (folder / PAGE).is_file()


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
    """An empty `folder`; what an earlier demo left there is replaced, anything else is not touched."""
    try:
        check_replaceable(folder, MARK, [photos] if photos is not None else [])
    except NotOurFolderError as refused:
        raise DemoError(
            f"{refused} Move your files elsewhere, or name another folder: python -m local demo --folder DIR"
        ) from None
    replace_folder(folder, MARK)


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
            self._console.print(f"  {line}", highlight=False, markup=False)
        elif self._console.is_terminal:
            self._advance(int(count[1]), int(count[2]))
        elif int(count[1]) % 20 == 0 or count[1] == count[2]:
            self._console.print(f"  {line}", highlight=False, markup=False)

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


def show_publish(message: dict[str, Any], outputs: dict[str, str], console: Console) -> None:
    console.print("  On your own account you would type the same:")
    text = shlex.quote(json.dumps(message))
    command = f"aws sns publish --topic-arn {outputs['trigger_events_topic_arn']} --message {text}"
    console.print(f"  {command}", style="cyan", highlight=False, markup=False, soft_wrap=True)


def wait_for_run(aws: EmbeddedAWS, bucket: str) -> str:
    """The id of the run that the dispatcher made of the message."""

    def planned() -> str | None:
        found = aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"runs/{PROJECT}/").get("Contents", [])
        runs = [item["Key"].split("/")[2] for item in found if item["Key"].endswith("/run.json")]
        refusals = [email for email in aws.emails() if "refused" in email.subject.lower()]
        if refusals:
            raise DemoError(f"the dispatcher refused the message:\n{refusals[-1].body}")
        return runs[0] if runs and aws.jobs() else None

    run_id: str = aws.wait_until(planned, DISPATCH_TIMEOUT, what="the dispatcher to start the run")
    return run_id


def watch(aws: EmbeddedAWS, run_id: str, console: Console) -> None:
    """As anyone follows a run: bars from progress.json on a terminal, a line per change elsewhere."""
    command = ["splatworks", "status", run_id, "--watch"]
    console.print(f"  {shlex.join(command)}", style="cyan", highlight=False, markup=False)
    subprocess.run([sys.executable, "-m", *command], env=aws.program_environment(), cwd=ROOT, timeout=RUN_TIMEOUT)  # noqa: S603
    # Whatever became of the watching, the demo goes on when the run is over.
    aws.wait_until(lambda: all(job["status"] in ENDED for job in aws.jobs()), RUN_TIMEOUT, what="the run to end")


def show_email(email: Email, console: Console) -> None:
    """As it is: a link that is broken into lines cannot be clicked, nor a command copied."""
    console.rule(Text(email.subject))
    console.print(f"To: {email.to}\n\n{email.body}", highlight=False, markup=False, soft_wrap=True)
    console.rule()
    console.print("  Its links lead to the AWS on this machine, which ends with the demo; below is what stays.")


def show_results(folder: Path, index: Path, ended: str, console: Console) -> None:
    console.print(f"\n{ended} Look at:")
    page = folder / PAGE
    if page.is_file():
        console.print(f"  {page}  the scene, in any browser", style="bold", highlight=False, markup=False)
    else:
        console.print(f"  no {PAGE}: the e-mail above says what to do", style="bold red", highlight=False)
    console.print(f"  {index}  what is where", highlight=False, markup=False)


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
