"""The command run-local."""

from pathlib import Path
from typing import Annotated

import typer

from splatworks.cli.local_run import LocalJob, existing, run_local
from splatworks.cli.local_script import script_files
from splatworks.cli.local_verdict import email_text
from splatworks.cli.messages import parameters, split_arguments
from splatworks.cli.telling import tell


def run_local_script(
    script: Annotated[Path, typer.Argument(help="A Python script, as you would upload it below jobs/.")],
    input_path: Annotated[
        Path | None, typer.Option("--input", help="Folder (or file) that becomes INPUT_DIR.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where its OUTPUT_DIR goes (default: <script>-output).", show_default=False)
    ] = None,
    args: Annotated[str | None, typer.Option(help="The script's arguments: --args '--limit 5'.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter: --set name=value. May be repeated.")
    ] = None,
    operation: Annotated[str | None, typer.Option(help="Its OPERATION.")] = None,
    requirements: Annotated[
        Path | None, typer.Option(help="Packages to install (default: requirements.txt beside it).", show_default=False)
    ] = None,
    alone: Annotated[
        bool | None,
        typer.Option("--alone/--folder", help="Whether its whole folder comes along.", show_default=False),
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="COMPUTE_TYPE=gpu.")] = False,
    memory: Annotated[
        int | None, typer.Option(min=128, help="MiB that it may use (default: all).", show_default=False)
    ] = None,
) -> None:
    """Run a script on this machine through the platform's own runner, before it costs anything."""
    job = LocalJob(
        script=script_files(script, requirements, alone=alone),
        input=existing(input_path),
        output=(output or Path(f"{script.stem}-output")).expanduser().resolve(),
        args=split_arguments(args) if args else [],
        parameters=parameters("--set", settings),
        operation=operation,
        gpu=gpu,
        memory=memory,
    )
    ended = run_local(job, lambda line: print(line, flush=True))
    subject, body = email_text(ended)
    tell(f"\nThe e-mail would say:\n\n{subject}\n\n{body}\n\nIts output and job.json: {job.output}")
    raise typer.Exit(ended.own_exit_code)
