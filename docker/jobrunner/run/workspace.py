"""The folders that a script finds."""

import shutil

from jobrunner.failures import RunnerError, is_temporary
from jobrunner.settings import Settings


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
            "workspace_unusable",
            f"the workspace cannot be prepared: {error}",
            "Make the folder writable for this user",
            retryable=is_temporary(error),
        ) from error
