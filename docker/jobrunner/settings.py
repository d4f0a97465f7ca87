"""Where this attempt runs and what it was asked for: the container's environment and request.json."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .failures import RunnerError

REQUEST_VERSION = 1
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Scalar = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class Timings:
    """In seconds. Tests shorten them."""

    progress: float = 10  # between two looks at progress.json
    checkpoints: float = 30  # between two mirrorings of the checkpoint folder
    checkpoints_stopping: float = 2  # the same after SIGTERM: what is saved now must be in S3 before the host goes
    gpu: float = 5  # between two samples of nvidia-smi
    stop: float = 95  # the script's time to write a checkpoint; ECS kills the container 110 after its SIGTERM
    facts: float = 5  # how long a finished job waits for ECS and EC2 to tell about the machine


@dataclass(frozen=True, kw_only=True)
class Settings:
    input_bucket: str
    output_bucket: str
    request_key: str
    output_prefix: str  # with the array index, ends in "/"
    array_index: int | None
    run_id: str
    stage: str
    job_id: str
    attempt: int
    workspace: Path
    models_dir: Path

    @property
    def input_dir(self) -> Path:
        return self.workspace / "input"

    @property
    def output_dir(self) -> Path:
        return self.workspace / "output"

    @property
    def checkpoint_dir(self) -> Path:
        return self.workspace / "checkpoints"

    @property
    def code_dir(self) -> Path:
        return self.workspace / "code"

    @property
    def temporary_dir(self) -> Path:
        return self.workspace / "tmp"

    @property
    def packages_dir(self) -> Path:
        return self.workspace / "packages"

    @property
    def parameters_file(self) -> Path:
        return self.workspace / "parameters.json"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        array_index = _whole_number(environment, "AWS_BATCH_JOB_ARRAY_INDEX")
        return cls(
            input_bucket=_required(environment, "ML_INPUT_BUCKET"),
            output_bucket=_required(environment, "ML_OUTPUT_BUCKET"),
            request_key=_required(environment, "REQUEST_KEY"),
            output_prefix=_own_prefix(_required(environment, "OUTPUT_PREFIX"), array_index),
            array_index=array_index,
            run_id=environment.get("RUN_ID", ""),
            stage=environment.get("STAGE", ""),
            job_id=environment.get("AWS_BATCH_JOB_ID", ""),
            attempt=_whole_number(environment, "AWS_BATCH_JOB_ATTEMPT") or 1,
            workspace=Path(environment.get("WORKSPACE_DIR") or "/workspace").absolute(),
            models_dir=Path(environment.get("MODELS_DIR") or "/opt/models").absolute(),
        )


@dataclass(frozen=True, kw_only=True)
class Request:
    """The `job` of request.json."""

    script_key: str
    checkpoint_prefix: str  # with the array index, ends in "/"
    input: list[str] = field(default_factory=list)
    input_layout: str = "flat"
    args: list[str] = field(default_factory=list)
    parameters: dict[str, Scalar] = field(default_factory=dict)
    operation: str | None = None

    @classmethod
    def parse(cls, text: bytes, settings: Settings) -> "Request":
        try:
            document = json.loads(text)
        except ValueError as error:
            raise _unreadable(settings, f"is not JSON ({error})") from None
        version = document.get("version") if isinstance(document, dict) else None
        job = document.get("job") if isinstance(document, dict) else None
        if version != REQUEST_VERSION or not isinstance(job, dict):
            raise _unreadable(
                settings, f"has version {version!r}; this runner reads version {REQUEST_VERSION} with a `job`"
            )
        request = cls(
            script_key=_typed(job, "script_key", str, settings),
            checkpoint_prefix=_own_prefix(_typed(job, "checkpoint_prefix", str, settings), settings.array_index),
            input=_typed(job, "input", list, settings, []),
            input_layout=_typed(job, "input_layout", str, settings, "flat"),
            args=_typed(job, "args", list, settings, []),
            parameters=_typed(job, "parameters", dict, settings, {}),
            operation=job.get("operation"),
        )
        request._check(settings)
        return request

    def _check(self, settings: Settings) -> None:
        if self.input_layout not in ("flat", "by_name"):
            raise _unreadable(settings, f"has input_layout {self.input_layout!r}; it is `flat` or `by_name`")
        if not all(isinstance(value, str) for value in [*self.input, *self.args]):
            raise _unreadable(settings, "has an entry in `input` or `args` that is not a string")
        if not isinstance(self.operation, str | None):
            raise _unreadable(settings, f"has operation {self.operation!r}; it is a string or null")
        for name, value in self.parameters.items():
            if not PARAMETER_NAME.fullmatch(name) or not isinstance(value, Scalar):
                raise _unreadable(
                    settings, f"has parameter {name!r}; a name has letters, digits and _, a value is a scalar"
                )


def _required(environment: Mapping[str, str], name: str) -> str:
    if value := environment.get(name):
        return value
    raise RunnerError(
        "environment_incomplete",
        f"the environment variable {name} is not set",
        "The job definition and the dispatcher set it: submit jobs by publishing a message to the trigger topic",
    )


def _whole_number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name)
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return int(value)
    raise RunnerError("environment_incomplete", f"{name} is {value!r}", "AWS Batch sets it to a whole number; unset it")


def _own_prefix(prefix: str, array_index: int | None) -> str:
    folder = prefix.rstrip("/") + "/"
    return folder if array_index is None else f"{folder}{array_index}/"


def _typed(job: dict[str, Any], name: str, kind: type, settings: Settings, default: Any = None) -> Any:
    value = job.get(name, default)
    if isinstance(value, kind):
        return value
    raise _unreadable(settings, f"has {name} {value!r}, not a {kind.__name__}")


def _unreadable(settings: Settings, what: str) -> RunnerError:
    return RunnerError(
        "bad_request",
        f"s3://{settings.output_bucket}/{settings.request_key} {what}",
        "The dispatcher writes it: deploy dispatcher and image of the same version",
    )
