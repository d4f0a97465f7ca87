"""Give a job /workspace and /opt/models as real paths, in a separate mount namespace (bubblewrap)."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from splatworks.contract.host import HOST_DIR, HOST_FOLDER

WORKSPACE = Path("/workspace")
MODELS = Path("/opt/models")
HOST = Path(HOST_FOLDER)


@dataclass(frozen=True)
class Isolation:
    """Capabilities of bubblewrap here. In a PID namespace one SIGKILL ends all processes of a job."""

    mounts: bool
    processes: bool


@functools.cache
def available_isolation() -> Isolation:
    if _works("--unshare-pid", "--as-pid-1", "--proc", "/proc"):
        return Isolation(mounts=True, processes=True)
    return Isolation(mounts=_works(), processes=False)


def _works(*options: str) -> bool:
    if shutil.which("bwrap") is None:
        return False
    probe = ["bwrap", *_root_without(()), *options, "true"]
    done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)  # noqa: S603
    return done.returncode == 0


def in_container(
    command: list[str], workspace: Path, models: Path, info_fd: int, host: Path | None = None
) -> list[str]:
    """Wrap `command` so that the folders are at /workspace, /opt/models and, if there is one of the host, HOST_FOLDER.

    bwrap writes its PID to `info_fd`.
    """
    isolation = available_isolation()
    folders = {WORKSPACE: workspace, MODELS: models, **({HOST: host} if host else {})}
    wrapped = ["bwrap", "--die-with-parent", "--info-fd", str(info_fd), *_root_without((WORKSPACE, MODELS, HOST))]
    for at, folder in folders.items():
        wrapped += ["--bind", str(folder), str(at)]
    wrapped += ["--chdir", str(WORKSPACE)]
    if isolation.processes:
        wrapped += ["--unshare-pid", "--as-pid-1", "--proc", "/proc"]
    return [*wrapped, "--", *command]


def container_pid(info: str) -> int:
    return int(json.loads(info)["child-pid"])


def folder_environment(workspace: Path, models: Path, host: Path | None = None) -> dict[str, str]:
    """Return the folders as variables for the runner if mount namespaces are not available."""
    if available_isolation().mounts:
        return {}
    folders = {"WORKSPACE_DIR": workspace, "MODELS_DIR": models, **({HOST_DIR: host} if host else {})}
    return {name: str(folder) for name, folder in folders.items()}


def _root_without(hidden: tuple[Path, ...]) -> list[str]:
    """Return options that rebuild / from its entries, so that a mount point need not exist on this machine."""
    options: list[str] = []
    for entry in sorted(Path("/").iterdir()):
        if entry in hidden:
            continue
        below = [path for path in hidden if entry in path.parents]
        if below and entry.is_dir() and not entry.is_symlink():
            options += ["--dir", str(entry)]
            for child in sorted(entry.iterdir()):
                options += _mount(child) if child not in below else []
        else:
            options += _mount(entry)
    return options


def _mount(path: Path) -> list[str]:
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    # An unreadable path, such as lost+found or a mount of another user, cannot be bound.
    if not os.access(path, os.R_OK):
        return []
    return ["--dev-bind", str(path), str(path)]
