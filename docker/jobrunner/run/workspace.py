"""The folders and the environment that a script finds."""

import os
import shutil
from collections.abc import Mapping

from .failures import RunnerError
from .process import without_credentials
from .request import Request, Scalar
from .settings import Settings

STAGES = "stages/"  # the platform's own scripts in the input bucket


def clear(settings: Settings) -> None:
    """Empty folders, whatever an earlier job left in the workspace."""
    folders = [
        settings.input_dir,
        settings.output_dir,
        settings.checkpoint_dir,
        settings.code_dir,
        settings.temporary_dir,
    ]
    try:
        for path in [*folders, settings.packages_dir, settings.parameters_file]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in folders:
            path.mkdir(parents=True)
        settings.models_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunnerError(
            "workspace_unusable", f"the workspace cannot be prepared: {error}", "Make the folder writable for this user"
        ) from error


def script_environment(request: Request, settings: Settings, own: Mapping[str, str]) -> dict[str, str]:
    """`own` is the runner's environment, of which a script sees what it may."""
    parameters = {f"PARAM_{name.upper()}": _text(value) for name, value in request.parameters.items()}
    operation = {} if request.operation is None else {"OPERATION": request.operation}
    return {
        # Stages read strangers' photos: nothing leads them to the job role. People's own scripts may use it.
        **(without_credentials(own) if request.script_key.startswith(STAGES) else own),
        "INPUT_DIR": str(settings.input_dir),
        "OUTPUT_DIR": str(settings.output_dir),
        "CHECKPOINT_DIR": str(settings.checkpoint_dir),
        "MODELS_DIR": str(settings.models_dir),
        "PARAMETERS_FILE": str(settings.parameters_file),
        "TMPDIR": str(settings.temporary_dir),
        "OUTPUT_PREFIX": settings.output_prefix,
        "PYTHONUNBUFFERED": "1",
        **parameters,
        **operation,
    }


def with_packages(environment: Mapping[str, str], packages: object) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(packages), environment.get("PYTHONPATH")]))
    return {**environment, "PYTHONPATH": path}


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
