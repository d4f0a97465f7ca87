"""The commands of `splatworks`."""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from splatworks.cli import messages
from splatworks.cli.bars import transfer_bar
from splatworks.cli.estimates import estimate
from splatworks.cli.local_command import run_local_script
from splatworks.cli.local_input import scenes_to_upload
from splatworks.cli.logs import show_logs
from splatworks.cli.message_options import MessageOptions, options_on_command_line, takes_message_options
from splatworks.cli.plan_view import as_json as plan_as_json
from splatworks.cli.plan_view import show_plan
from splatworks.cli.plans import plan_run
from splatworks.cli.platform import DEFAULT_PROJECT, PROJECT_VARIABLES, find_platform
from splatworks.cli.problems import CTRL_C, FAULT, Problem, explained
from splatworks.cli.results import LONGEST_HOURS, files_of, viewer_link
from splatworks.cli.results import download as fetch
from splatworks.cli.run_states import FAILED, FORGOTTEN
from splatworks.cli.runs import days_ago, find_run, list_runs
from splatworks.cli.status_view import as_json, show_run, show_runs
from splatworks.cli.stopping import may_resume, stop, stop_resumption, stoppable
from splatworks.cli.submission import bytes_to_upload, check, publish, upload_locations
from splatworks.cli.telling import end, tell
from splatworks.cli.watching import watch_run, watch_runs
from splatworks.contract.failures import FailureError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Credentials and region are found as the AWS CLI finds them; AWS_ENDPOINT_URL leads to `make local`.",
)

ProjectOption = Annotated[
    str,
    typer.Option("--project", envvar=list(PROJECT_VARIABLES), help="project_name of the platform."),
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of one, or a Batch job id.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Stay, and show how far it is.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(version("splatworks"))
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Photos to 3D Gaussian splats: submit runs, watch them, open what they made."""


def run(arguments: list[str]) -> int:
    """The exit code: 0 done, 1 a fault or a failed run, 2 refused, 130 Ctrl-C."""
    try:
        app(arguments, prog_name="splatworks")
    except SystemExit as ended:  # Typer's way out, also for a usage error that it has told
        if ended.code == CTRL_C:
            tell("stopped")
        return ended.code if isinstance(ended.code, int) else 0
    except FailureError as error:  # a Problem, a message that would be refused, a document of a later version
        return end(error)
    except (BotoCoreError, ClientError) as error:
        return end(explained(error))
    except (Boto3Error, OSError) as error:
        return end(Problem(str(error), exit_code=FAULT))
    return 0


@app.command()
@takes_message_options
def submit(
    options: MessageOptions,
    project: ProjectOption = DEFAULT_PROJECT,
    keep_others: Annotated[
        bool, typer.Option("--keep-others", help="Upload into a folder that holds other files, and use them too.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite files there that have the names of yours but other content.")
    ] = False,
    watch: WatchOption = False,
) -> None:
    """Start a run: upload what is local, publish one message."""
    locations = messages.locate(options)
    message = messages.compose(options, locations)  # a typo ends here, before gigabytes are uploaded
    platform = find_platform(project)
    scenes_to_upload(platform.client, messages.as_request(message), locations, platform.settings)  # or a refusal
    check(platform, message, uploaded=not any(location.local for location in locations))
    upload_locations(platform, locations, keep_others=keep_others, replace=replace)
    publish(platform, message)
    run_id = messages.run_id(message)
    tell("Submitted. Watch it with:  splatworks status --watch " + run_id)
    print(run_id, flush=True)
    if watch:
        _exit_as(watch_run(platform, run_id, begins=True).status)


@app.command()
@takes_message_options
def message(options: MessageOptions) -> None:
    """Print the JSON for `aws sns publish` that submit would publish; asks AWS nothing."""
    locations = messages.locate(options)
    print(json.dumps(messages.compose(options, locations), indent=2, ensure_ascii=False))
    for location in locations:
        if command := messages.upload_command(location):
            tell(f"Upload first: {command}")


@app.command()
def status(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run, with its stages.")] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    watch: WatchOption = False,
    days: Annotated[float, typer.Option(min=0.01, help="How far back (Batch keeps jobs for about a week).")] = 7,
    limit: Annotated[int, typer.Option(min=0, help="Show at most this many runs (0 = all).")] = 0,
    machine_readable: JsonOption = False,
) -> None:
    """All runs, or one: its stages, how far they are, how they ended."""
    if watch and machine_readable:
        raise Problem("--watch can't be combined with --json.", "Leave one out.")
    platform = find_platform(project)
    if run_id is not None:
        run = watch_run(platform, run_id) if watch else find_run(platform, run_id)
        if machine_readable:
            print(json.dumps(as_json(run), indent=2))
        elif not watch:
            show_run(Console(), run, platform.settings.output_bucket)
        if watch:
            _exit_as(run.status)
        return
    if watch:
        watch_runs(platform, days, limit)
    runs = list_runs(platform, days_ago(days))
    shown = runs[: limit or len(runs)]
    if machine_readable:
        print(json.dumps([as_json(run) for run in shown], indent=2))
        return
    if not shown:
        tell(f"No runs in the last {days:g} days. Start one: splatworks submit my-photos/")
        return
    show_runs(Console(), shown)
    if len(shown) < len(runs):
        tell(f"… and {len(runs) - len(shown)} older ones (--limit 0 shows all)")


@app.command()
@takes_message_options
def plan(
    context: typer.Context,
    options: MessageOptions,
    project: ProjectOption = DEFAULT_PROJECT,
    file: Annotated[
        Path | None,
        typer.Option("--file", exists=True, dir_okay=False, help="Plan the message in this file.", show_default=False),
    ] = None,
    machine_readable: JsonOption = False,
) -> None:
    """What a message would run, on what, how long and for how much; submits nothing, writes nothing."""
    if file is not None:
        _refuse_beside_file(context, options)
        request, locations = messages.read_request(file), []
    else:
        locations = messages.locate(options)
        request = messages.as_request(messages.compose(options, locations))
    platform = find_platform(project)
    missing = bytes_to_upload(platform, locations)
    scenes = len(scenes_to_upload(platform.client, request, locations, platform.settings)) or 1
    planned = plan_run(platform, request, uploaded=missing == 0, scenes=scenes)
    estimates = estimate(platform, planned)
    if machine_readable:
        print(json.dumps(plan_as_json(planned, estimates), indent=2))
        return
    show_plan(Console(), planned, estimates, missing)


@app.command()
def logs(
    run_id: RunArgument,
    stage: Annotated[str | None, typer.Argument(help="One stage's log (default: all).")] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    index: Annotated[int | None, typer.Option(help="Which part of an array.")] = None,
) -> None:
    """What a run's scripts printed."""
    platform = find_platform(project)
    show_logs(platform, find_run(platform, run_id), stage, index=index, follow=follow)


@app.command()
def cancel(
    run_id: RunArgument,
    project: ProjectOption = DEFAULT_PROJECT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop all jobs of a run; checkpoints and outputs so far are kept."""
    platform = find_platform(project)
    run = find_run(platform, run_id)
    stages = stoppable(run)
    if not stages and may_resume(run) and stop_resumption(platform, run):
        tell(f"{run.id} waited to be resumed, and will not be.")
        return
    if not stages:
        tell(f"{run.id} has ended already.")
        return
    names = ", ".join(stage.name or stage.job_name for stage in stages)
    if not yes:
        _confirm(f"Stop {run.id} ({names})?")
    stop(platform, stages)
    tell(f"Stopping {run.id}: {names}. The e-mail comes when it has ended.")


@app.command(name="open")
def open_page(
    run_id: RunArgument,
    project: ProjectOption = DEFAULT_PROJECT,
    only_print: Annotated[bool, typer.Option("--print", help="Print the link, open nothing.")] = False,
    hours: Annotated[float, typer.Option(min=0.02, max=LONGEST_HOURS, help="How long the link is good.")] = 12,
    index: Annotated[int | None, typer.Option(help="Which of several scenes.")] = None,
) -> None:
    """Open a run's scene in the browser, by a link that anyone can use until it expires."""
    platform = find_platform(project)
    link = viewer_link(platform, find_run(platform, run_id), index, hours)
    print(link)
    tell(f"Good for {hours:g} hours, or until the credentials end that signed it, whichever is first.")
    if not only_print:
        typer.launch(link)


@app.command()
def download(
    run_id: RunArgument,
    stage: Annotated[str | None, typer.Argument(help="One stage's files (default: all).")] = None,
    project: ProjectOption = DEFAULT_PROJECT,
    to: Annotated[Path | None, typer.Option(help="Folder (default: the run's id).", show_default=False)] = None,
) -> None:
    """Fetch what a run made, a folder per stage."""
    platform = find_platform(project)
    run = find_run(platform, run_id)
    folder = to or Path(run.id)
    files = files_of(platform, run, stage, folder)
    size = sum(file.size for file in files)
    with transfer_bar(f"{len(files)} files", size) as advance:
        fetch(platform, files, advance)
    tell(f"{len(files)} files, {size / 1e6:.1f} MB, in {folder}")


app.command(name="run-local")(run_local_script)


def _refuse_beside_file(context: typer.Context, options: MessageOptions) -> None:
    if options.locations:
        raise Problem("--file can't be combined with INPUT.", "The file names its input itself.")
    if given := options_on_command_line(context):
        raise Problem(
            f"--file can't be combined with {', '.join(given)}.",
            "The file is the whole message: leave them out, or say it in the file.",
        )


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise Problem("Nothing was stopped: there is no terminal to ask on.", "--yes stops it without asking.")
    if not typer.confirm(question, err=True):
        raise Problem("Nothing was stopped.")


def _exit_as(run_status: str) -> None:
    raise typer.Exit(FAULT if run_status in (FAILED, FORGOTTEN) else 0)
