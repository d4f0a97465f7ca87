"""Where this attempt runs: the container's environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobrunner.failures import RunnerError
from splatworks.contract.environment import OUTPUT_PREFIX, REQUEST_KEY, RUN_ID, STAGE_NAME
from splatworks.contract.host import HOST_DIR, HOST_FOLDER
from splatworks.contract.keys import child_prefix


@dataclass(frozen=True, kw_only=True)
class Timings:
    """In seconds. Tests shorten them."""

    progress: float = 10  # between two looks at progress.json
    checkpoints: float = 25  # between two mirrorings of the checkpoint folder
    checkpoints_soon: float = 1  # the same after a notice, or if a file was too new in the last round
    drain: float = 10  # how long a job on a bad host waits until the host gets no new tasks
    notice: float = 1  # between two looks for a notice of the host
    patience: float = 5  # how long a file that is being written waits; with `checkpoints` the most a lost host may cost
    gpu_answer: float = 30  # how long a GPU has for its answer to the probe; one that wakes up takes some seconds
    gpu: float = 5  # between two samples of nvidia-smi
    stop: float = 95  # the script's time to write a checkpoint after SIGTERM; ECS kills the container 110 after it
    sign_of_life: float = 30  # between two writings of _RUNNING
    cost: float = 1  # between two looks at what max_cost_usd leaves
    price: float = 60  # how long a job with max_cost_usd waits for the price of its machine
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
    host_dir: Path  # shared with the host; splatworks/contract/host.py says for what

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
            request_key=_required(environment, REQUEST_KEY),
            output_prefix=child_prefix(_required(environment, OUTPUT_PREFIX), array_index),
            array_index=array_index,
            run_id=environment.get(RUN_ID, ""),
            stage=environment.get(STAGE_NAME, ""),
            job_id=environment.get("AWS_BATCH_JOB_ID", ""),
            attempt=_whole_number(environment, "AWS_BATCH_JOB_ATTEMPT") or 1,
            workspace=workspace_of(environment),
            models_dir=Path(environment.get("MODELS_DIR") or "/opt/models").absolute(),
            host_dir=Path(environment.get(HOST_DIR) or HOST_FOLDER).absolute(),
        )


def workspace_of(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("WORKSPACE_DIR") or "/workspace").absolute()


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
