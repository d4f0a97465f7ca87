"""The environment variables of a script, and those that it must not see."""

import ctypes
import math
import os
import re
import sys
from collections.abc import Mapping

from jobrunner.fetch.request import Scalar
from jobrunner.settings import Settings
from splatworks.contract.documents.request import JobRequest
from splatworks.contract.environment import OUTPUT_PREFIX, THREAD_COUNTS, VCPUS, parameter_variable
from splatworks.contract.keys import STAGES_FOLDER

PR_SET_DUMPABLE = 4  # linux/prctl.h
AWS_KEPT = re.compile(r"AWS_(DEFAULT_REGION|REGION|BATCH_\w+)")


def script_environment(job: JobRequest, settings: Settings, own: Mapping[str, str]) -> dict[str, str]:
    """The variables of a script: the runner's `own` environment as far as the script may see it, and the job's."""
    parameters = {parameter_variable(name): _text(value) for name, value in job.parameters.items()}
    operation = {} if job.operation is None else {"OPERATION": job.operation}
    return {
        # Stages read photos of third parties: nothing leads them to the job role. Users' own scripts may use it.
        **(without_credentials(own) if job.script_key.startswith(STAGES_FOLDER) else own),
        "INPUT_DIR": str(settings.input_dir),
        "OUTPUT_DIR": str(settings.output_dir),
        "CHECKPOINT_DIR": str(settings.checkpoint_dir),
        "MODELS_DIR": str(settings.models_dir),
        "PARAMETERS_FILE": str(settings.parameters_file),
        "TMPDIR": str(settings.temporary_dir),
        OUTPUT_PREFIX: settings.output_prefix,
        "PYTHONUNBUFFERED": "1",
        **parameters,
        **operation,
    }


def with_thread_counts(environment: Mapping[str, str], vcpus: float | None, cores: int) -> dict[str, str]:
    """With the job's share of the machine, unless the variables are set: a container sees all cores of its host."""
    if not vcpus:
        return dict(environment)
    count = str(max(1, min(math.floor(vcpus), cores)))
    return {**dict.fromkeys((VCPUS, *THREAD_COUNTS), count), **environment}


def with_packages(environment: Mapping[str, str], packages: object) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(packages), environment.get("PYTHONPATH")]))
    return {**environment, "PYTHONPATH": path}


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """The runner's environment without all that leads to the job role's credentials."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(("AWS_", "ECS_")) or AWS_KEPT.fullmatch(name)
    }


def hide_environment() -> None:
    """Closes /proc/<runner>/environ to the script, which runs as the same user."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
