"""Compose the message from options and check it by the dispatcher's own rules. Makes no AWS call."""

import hashlib
import json
import shlex
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from splatworks.cli.message_options import MessageOptions
from splatworks.cli.problems import Problem
from splatworks.contract.keys import PHOTOS
from splatworks.contract.nearest import nearest
from splatworks.contract.parameters import parameters_of
from splatworks.contract.stages import STAGES
from splatworks.planning import message as dispatcher_message
from splatworks.planning.job_checks import resolve_inputs, split_uri
from splatworks.planning.job_plan import check_job, slug
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import check_dataset_name, label_of, order_stages

SCRIPT = "script"
COMPUTE_TYPES = ("cpu", "gpu")
ANY_INPUT_BUCKET = "$INPUT_BUCKET"  # of whichever platform, as upload_command names it
Assignment = tuple[str, str, str]  # stage, name, value


@dataclass(frozen=True)
class InputLocation:
    """One INPUT: its location for the platform, and the local path to upload there first."""

    given: str  # in the message
    local: Path | None = None


def locate(options: MessageOptions) -> list[InputLocation]:
    given = options.locations or []
    if not all(text.strip() for text in given):  # Path("") is the current directory
        raise Problem("An INPUT is empty.", "Name it; a variable of the shell may have no value.")
    paths = [None if "://" in text else Path(text).expanduser() for text in given]
    several = sum(path is not None and path.exists() for path in paths) > 1
    locations = [_locate(text, options.name, several) for text in given]
    folders: dict[str, Path] = {}
    for location in locations:
        if location.local and folders.setdefault(location.given, location.local) != location.local:
            raise Problem(
                f"{folders[location.given]} and {location.local} would both be uploaded to {location.given}.",
                "Rename one of them.",
            )
    return locations


def _locate(text: str, name: str | None, several: bool) -> InputLocation:
    """`several`: local ones, each of which needs a folder of its own."""
    if "://" in text:
        return InputLocation(text)
    path = Path(text).expanduser()
    if path.exists():
        resolved = path.resolve()
        own = slug(resolved.name if resolved.is_dir() else resolved.stem, "")
        label = f"{name}-{own}" if name and several and own else name or own
        if not label:
            raise Problem(f"{text} has no name that a key can have.", "Give one with --name.")
        return InputLocation(f"{PHOTOS}{label}/", resolved)
    if text.startswith(("/", "~", ".")):
        raise Problem(f"There is no folder or file {text}.", "Give one that is there, an s3:// URI, or a key.")
    return InputLocation(text)


def _manifest(location: InputLocation) -> str:
    is_file = location.local is not None and location.local.suffix == ".json" and location.local.is_file()
    return f"{location.given}{location.local.name}" if is_file and location.local else location.given


def compose(options: MessageOptions, locations: list[InputLocation]) -> dict[str, Any]:
    """The message, valid on any platform; its input and script need not be in S3 yet."""
    data = _script_data(options) if options.script else _pipeline_data(options)
    given = [_manifest(location) if options.several else location.given for location in locations]
    if given:
        data["inputs" if options.several else "input"] = given[0] if len(given) == 1 else given
    data["job_name"] = options.name or _label(options, given)
    data["request_id"] = options.request_id or f"splatworks-{uuid.uuid4()}"
    common = {
        "max_cost_usd": options.max_cost,
        "auto_resume": options.auto_resume,
        "priority": options.priority,
    }
    data |= {name: value for name, value in common.items() if value is not None}
    metadata = {"user": options.user, "project": options.project_label, "experiment": options.experiment}
    message = {
        "trigger_type": "batch_job" if options.script else "splat_pipeline",
        "data": data,
        "metadata": {name: value for name, value in metadata.items() if value is not None},
    }
    _check(as_request(message))
    return message


def as_request(message: dict[str, Any]) -> Request:
    """As the dispatcher reads it from the topic."""
    return dispatcher_message.parse(json.dumps(message), message_id="")


def _check(request: Request) -> None:
    """What the dispatcher would refuse on any platform."""
    if request.trigger_type == "batch_job":
        check_job(request.data)
        _check_places(request, "input")
        return
    first = order_stages(request.data)[0].name
    _check_places(request, "inputs")
    check_dataset_name(_check_places(request, "input"), first)


def _check_places(request: Request, field: str) -> tuple[str, ...]:
    """Check locations by the rules that don't depend on which buckets the platform may read."""
    given = request.data.get(field, [])
    places = [given] if isinstance(given, str) else given
    buckets = [split_uri(place)[0] for place in places if "://" in place]
    return resolve_inputs(given, ANY_INPUT_BUCKET, (ANY_INPUT_BUCKET, *buckets), f"data.{field}")


def read_request(file: Path) -> Request:
    """A message that is written already."""
    try:
        return dispatcher_message.parse(file.read_text(encoding="utf-8"), message_id=str(uuid.uuid4()))
    except UnicodeDecodeError:
        raise Problem(f"{file} is no text in UTF-8.", "Give a JSON file as in examples/messages/.") from None


def run_id(message: dict[str, Any]) -> str:
    """docs/contracts.md, "Batch job" and "Pipeline runs"."""
    digest = hashlib.sha256(message["data"]["request_id"].encode()).hexdigest()[:12]
    return f"{message['data']['job_name']}-{digest}"


def publish_command(message: dict[str, Any], topic_arn: str) -> str:
    text = json.dumps(message, ensure_ascii=False)
    return f"aws sns publish --topic-arn {shlex.quote(topic_arn)} --message {shlex.quote(text)}"


def upload_command(location: InputLocation) -> str | None:
    """What brings it to where the message says, for a shell with README's INPUT_BUCKET."""
    if location.local is None:
        return None
    recursive = "--recursive " if location.local.is_dir() else ""
    return f"aws s3 cp {recursive}{shlex.quote(str(location.local))} s3://$INPUT_BUCKET/{shlex.quote(location.given)}"


def _pipeline_data(options: MessageOptions) -> dict[str, Any]:
    _refuse_beside_pipeline(options)
    chosen = {"steps": options.steps, "preset": options.preset}
    data: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    for stage, kind in _compute_types(options, list(STAGES)).items():
        data.setdefault(stage, {})["compute_type"] = kind
    for stage, field, value in _assignments("--job", options.job):
        data.setdefault(stage, {})[field] = scalar(value)
    for stage, name, value in _assignments("--set", options.settings):
        data.setdefault(stage, {}).setdefault("parameters", {})[name] = scalar(value)
    for stage, name, value in _assignments("--sweep", options.sweep):
        values = [scalar(each) for each in value.split(",")]
        data.setdefault("sweep", {}).setdefault(stage, {})[name] = values
    if options.fresh:
        data["fresh"] = True
    return data


def _refuse_beside_pipeline(options: MessageOptions) -> None:
    for name, value in (("--args", options.args), ("--operation", options.operation)):
        if value is not None:
            raise Problem(f"{name} is for a script.", "Add --script jobs/<yours>.py, or leave it out.")
    if not options.locations:
        raise Problem("What should it run on?", "Give a local folder of photos, an s3:// URI or a key: photos/scene/.")
    if options.several and len(options.locations) > 1:
        raise Problem("--several takes one INPUT.", "Give the folder above all scenes, or a manifest (.json).")


def _script_data(options: MessageOptions) -> dict[str, Any]:
    pipeline = {"--steps": options.steps, "--preset": options.preset, "--sweep": options.sweep}
    flags = {"--several": options.several, "--fresh": options.fresh}
    for name, value in {**pipeline, **flags}.items():
        if value:
            raise Problem(f"{name} is for the pipeline.", "Leave it out, or leave --script out.")
    data: dict[str, Any] = {"script_key": options.script}
    kinds = _compute_types(options, [SCRIPT])
    if kinds:
        data["compute_type"] = kinds[SCRIPT]
    for name, value in parameters("--job", options.job).items():
        data[name] = value
    if options.args is not None:
        data["args"] = split_arguments(options.args)
    if options.operation is not None:
        data["operation"] = options.operation
    if options.settings:
        data["parameters"] = parameters("--set", options.settings)
    return data


def split_arguments(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Problem(f"--args {text!r}: {error}.", "Quote it as in a shell.") from None


def parameters(option: str, given: list[str] | None) -> dict[str, Any]:
    return {name: scalar(value) for name, value in (_pair(option, text, "name=value") for text in given or [])}


def scalar(text: str) -> str | int | float | bool:
    """The value if the text is JSON for a number, true, false or a string; else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    finite = isinstance(value, str | bool | int) or (isinstance(value, float) and abs(value) < float("inf"))
    return value if finite else text


def _compute_types(options: MessageOptions, stages: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in COMPUTE_TYPES:
        for stage in getattr(options, kind) or []:
            if stage not in stages:
                raise Problem(f"--{kind} {stage}: there is no such stage here.", nearest(stage, stages))
            if found.setdefault(stage, kind) != kind:
                raise Problem(f"--cpu {stage} and --gpu {stage} cannot both be.", "Give one of them.")
    return found


def _assignments(option: str, given: list[str] | None) -> list[Assignment]:
    found = []
    for text in given or []:
        path, value = _pair(option, text, "stage.name=value")
        stage, dot, name = path.partition(".")
        if not dot or not name:
            owners = [each.name for each in STAGES.values() if path in parameters_of(each.parameters)]
            forms = " or ".join(f"{each}.{path}={value}" for each in owners or STAGES)
            raise Problem(f"{option} {text}: which stage's?", f"Write {option} {forms}.")
        if stage not in STAGES:
            raise Problem(f"{option} {text}: there is no stage {stage!r}.", nearest(stage, list(STAGES)))
        found.append((stage, name, value))
    return found


def _pair(option: str, text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Problem(f"{option} {text}: this is not {form}.", f"Write {option} {form}.")
    return name, value


def _label(options: MessageOptions, given: list[str]) -> str:
    """The label that the dispatcher would choose; in the message, so that the run's id is known before it runs."""
    if options.script:
        return slug(PurePosixPath(options.script).stem, "job")
    return label_of(given[0])
