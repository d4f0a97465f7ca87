"""Any splat file that this project reads, told by its name."""

from collections.abc import Callable
from pathlib import Path

from splatkit.errors import input_error
from splatkit.formats.ply import read_ply
from splatkit.formats.sog import META, read_sog
from splatkit.formats.spz import read_spz
from splatkit.splats import Splats

READERS: dict[str, Callable[[Path], Splats]] = {".ply": read_ply, ".sog": read_sog, ".spz": read_spz}


def read_splats(path: Path) -> Splats:
    """Raises StageError (input_error) for a file that is damaged or of another kind."""
    reader = read_sog if path.name == META else READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join([*READERS, META])
        raise input_error("unknown_format", f"{path.name} is of no format that is read", f"Give one of {known}.")
    return reader(path)
