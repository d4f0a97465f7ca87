"""What both dispatchers wrote, both runners, and empty buckets for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3
from versions import NEW, OLD, ROOT, Buckets, Dispatched, dispatch, server, unzip, write_input


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the objects of the input bucket."""
    folder = tmp_path_factory.mktemp("input")
    write_input(folder)
    return folder


@pytest.fixture(scope="session")
def dispatched(given: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dispatched]:
    folder = tmp_path_factory.mktemp("dispatched")
    return {
        OLD: dispatch(unzip("functions", folder / "functions"), given, folder / "old"),
        NEW: dispatch(ROOT / "modules" / "lambda" / "functions", given, folder / "new"),
    }


@pytest.fixture(scope="session")
def runners(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {OLD: unzip("runner", tmp_path_factory.mktemp("runner")), NEW: ROOT / "docker"}


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with server() as address:
        yield address


@pytest.fixture
def buckets(endpoint: str, given: Path, dispatched: dict[str, Dispatched], tmp_path: Path) -> Callable[[str], Buckets]:
    """The buckets after the dispatcher of a version has accepted the messages."""

    def after(version: str) -> Buckets:
        urllib3.PoolManager().request("POST", f"{endpoint}/moto-api/reset")
        return Buckets(endpoint, given, dispatched[version], tmp_path)

    return after
