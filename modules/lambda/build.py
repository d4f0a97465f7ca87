"""Build the zip of both Lambda functions: the same bytes each time, and no work when nothing has changed."""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

MODULE = Path(__file__).resolve().parent
FUNCTIONS = MODULE / "functions"
PACKAGE = MODULE.parent.parent / "splatworks"
ROOMS = ("contract", "planning", "lookup", "report")  # of the package splatworks: what the functions import
REQUIREMENTS = MODULE / "requirements.txt"
DEFAULT_OUTPUT = MODULE.parent.parent / "build" / "lambda.zip"

SIZE_LIMIT = 3_000_000  # bytes; what a cold start has to fetch
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
LEFT_OUT = ("*.pyc", "bin/*", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED")


def build(output: Path) -> bool:
    """Write the zip; False where it already has these inputs."""
    digest = inputs_digest()
    if _comment(output) == digest:
        return False
    with tempfile.TemporaryDirectory() as folder:
        _install(Path(folder))
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished = output.with_name(f"{output.name}.new")
        _write_zip(unfinished, [*_sources(), *_files(Path(folder))], digest)
    size = unfinished.stat().st_size
    if size > SIZE_LIMIT:
        unfinished.unlink()
        raise SystemExit(f"The zip has {size} bytes, at most {SIZE_LIMIT} are allowed. See what requirements.txt adds.")
    unfinished.replace(output)
    return True


def inputs_digest() -> bytes:
    """Of all that decides about the zip; it travels in the zip's comment."""
    digest = hashlib.sha256()
    for name, path in [*_sources(), ("requirements.txt", REQUIREMENTS), ("build.py", Path(__file__))]:
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest().encode()


def _sources() -> Iterator[tuple[str, Path]]:
    """The functions, and a copy of those rooms of the package splatworks that they import."""
    yield from _files(FUNCTIONS)
    yield "splatworks/__init__.py", PACKAGE / "__init__.py"
    for room in ROOMS:
        for name, path in _files(PACKAGE / room):
            yield f"splatworks/{room}/{name}", path


def _install(folder: Path) -> None:
    """Wheels for any platform only, so that one zip runs on every runtime and architecture."""
    any_platform = ["--platform=any", "--implementation=py", "--abi=none", "--python-version=3.12"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    wheels = ["--only-binary=:all:", "--require-hashes", f"--target={folder}", f"--requirement={REQUIREMENTS}"]
    result = subprocess.run([*pip, *any_platform, *wheels], capture_output=True, text=True)  # noqa: S603 our own pip
    if result.returncode:
        raise SystemExit(f"pip could not fetch what {REQUIREMENTS} names:\n{result.stderr}")


def _write_zip(path: Path, files: list[tuple[str, Path]], comment: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = comment
        for name, source in sorted(files):
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.create_system = 3  # Unix, also when built elsewhere
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, source.read_bytes())


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(name.match(pattern) for pattern in LEFT_OUT):
            yield name.as_posix(), path


def _comment(path: Path) -> bytes | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment
    except (FileNotFoundError, zipfile.BadZipFile):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="the zip to write")
    output = parser.parse_args().output
    done = "built" if build(output) else "unchanged"
    print(f"{output}: {done}, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
