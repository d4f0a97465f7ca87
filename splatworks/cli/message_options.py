"""The options that submit, message and plan share: each field is an option of all three."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperOption

from splatworks.contract.message_schema import one_of
from splatworks.contract.stages import ALL_STEPS, STAGES, presets_of, steps_of

PIPELINE = "The pipeline"
SCRIPT = "A script of yours"
MACHINES = "Machines and money"
LABELS = "Names"


@dataclass(frozen=True, kw_only=True)
class MessageOptions:
    locations: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="A local folder, zip or video (uploaded to photos/<name>/), an s3:// URI, or a key: photos/scene/.",
            show_default=False,
        ),
    ] = None
    steps: Annotated[
        str | None,
        typer.Option(help=f"{one_of(steps_of())}: where to start (default {ALL_STEPS}).", rich_help_panel=PIPELINE),
    ] = None
    preset: Annotated[str | None, typer.Option(help=f"{one_of(presets_of())}.", rich_help_panel=PIPELINE)] = None
    several: Annotated[
        bool,
        typer.Option("--several", help="INPUT holds several scenes, or is their manifest.", rich_help_panel=PIPELINE),
    ] = False
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="A stage's parameter with its values: --sweep train.cap_max=200000,500000. May be repeated.",
            rich_help_panel=PIPELINE,
            show_default=False,
        ),
    ] = None
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run every stage, even if its result exists.", rich_help_panel=PIPELINE)
    ] = False
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A stage's parameter: --set train.cap_max=200000 (with --script: --set name=value). May be repeated.",
            rich_help_panel=PIPELINE,
            show_default=False,
        ),
    ] = None
    script: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Run this script of the input bucket (jobs/x.py) instead of the pipeline.",
            rich_help_panel=SCRIPT,
        ),
    ] = None
    args: Annotated[
        str | None,
        typer.Option(help="The script's arguments: --args '--limit 5'.", rich_help_panel=SCRIPT),
    ] = None
    operation: Annotated[
        str | None, typer.Option(help="A word for the script, its OPERATION.", rich_help_panel=SCRIPT)
    ] = None
    cpu: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE",
            help=f"Run this stage ({', '.join(STAGES)} or, with --script, script) on a CPU machine. May be repeated.",
            rich_help_panel=MACHINES,
            show_default=False,
        ),
    ] = None
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE",
            help="Run this stage on a GPU machine. May be repeated.",
            rich_help_panel=MACHINES,
            show_default=False,
        ),
    ] = None
    job: Annotated[
        list[str] | None,
        typer.Option(
            help="A field of a stage's job: --job train.timeout_seconds=7200. Also vcpus, memory (MiB), gpus, "
            "attempts, spot. With --script: --job memory=8000. May be repeated.",
            rich_help_panel=MACHINES,
            show_default=False,
        ),
    ] = None
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="USD", help="Stop the run once it has cost this many US dollars.", rich_help_panel=MACHINES
        ),
    ] = None
    auto_resume: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How often it starts again, from its checkpoint, once its attempts are used up by lost machines.",
            rich_help_panel=MACHINES,
        ),
    ] = None
    priority: Annotated[
        int | None,
        typer.Option(help="0 to 9999: the higher runs first in its project.", rich_help_panel=MACHINES),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(help="Begins the run's id, and the folder below photos/.", rich_help_panel=LABELS),
    ] = None
    project_label: Annotated[
        str | None,
        typer.Option(help="What the run belongs to: metadata.project.", rich_help_panel=LABELS),
    ] = None
    user: Annotated[
        str | None,
        typer.Option(help="Who runs it: metadata.user.", envvar="SPLATWORKS_USER", rich_help_panel=LABELS),
    ] = None
    experiment: Annotated[str | None, typer.Option(help="metadata.experiment.", rich_help_panel=LABELS)] = None
    request_id: Annotated[
        str | None,
        typer.Option(
            help="Two messages of one id start one run (default: a new id).", rich_help_panel=LABELS, show_default=False
        ),
    ] = None


def options_on_command_line(context: typer.Context) -> list[str]:
    """The options of MessageOptions that were given on the command line, not by environment variables."""
    names = {each.name for each in fields(MessageOptions)}
    options = [each for each in context.command.params if isinstance(each, TyperOption) and each.name in names]
    sources = {option.opts[0]: context.get_parameter_source(option.name or "") for option in options}
    return [option for option, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def takes_message_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Replace the command's parameter `options` by the options of MessageOptions."""
    own = inspect.signature(command)
    hints = get_type_hints(MessageOptions, include_extras=True)

    def with_options(**given: Any) -> Any:
        options = MessageOptions(**{each.name: given.pop(each.name) for each in fields(MessageOptions)})
        return command(options=options, **given)

    shared = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name])
        for each in fields(MessageOptions)
    ]
    rest = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.parameters.items()
        if name != "options"
    ]
    with_options.__signature__ = own.replace(parameters=[*shared, *rest])  # type: ignore[attr-defined]
    with_options.__name__ = command.__name__
    with_options.__doc__ = command.__doc__
    return with_options
