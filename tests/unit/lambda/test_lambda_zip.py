"""The zip that is deployed: the same bytes each time, pure Python, small, and complete but for boto3."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import boto3
import pytest

ROOT = Path(__file__).parents[3]


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lambda_build", ROOT / "modules" / "lambda" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


@pytest.fixture(scope="module")
def zip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("zip") / "lambda.zip"
    assert build.build(path)
    return path


def test_two_builds_are_the_same_bytes(zip_path: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "modules/lambda/build.py", "--output", tmp_path / "again.zip"],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "TZ": "Asia/Tokyo"},
    )

    assert (tmp_path / "again.zip").read_bytes() == zip_path.read_bytes()


def test_nothing_is_done_while_the_inputs_are_the_same(zip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_install", lambda folder: pytest.fail("built again"))

    assert build.build(zip_path) is False


def test_a_changed_function_or_a_broken_zip_is_built_again(
    zip_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_install", lambda folder: None)
    functions = tmp_path / "functions"
    shutil.copytree(build.FUNCTIONS, functions)
    (functions / "monitor.py").write_text("changed = True\n")
    changed = tmp_path / "changed.zip"
    shutil.copy(zip_path, changed)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(zip_path.read_bytes()[:1000])

    assert build.build(broken)
    monkeypatch.setattr(build, "FUNCTIONS", functions)
    assert build.build(changed)
    assert zipfile.ZipFile(changed).read("monitor.py") == b"changed = True\n"


def test_it_holds_the_templates_of_the_emails(zip_path: Path) -> None:
    names = set(zipfile.ZipFile(zip_path).namelist())
    templates = [path.name for path in (ROOT / "splatworks" / "report" / "templates").glob("*.txt")]

    assert "run_done.txt" in templates
    assert {f"splatworks/report/templates/{name}" for name in templates} <= names
    assert "dispatch/refused.txt" in names


def test_too_large_a_zip_is_refused_and_the_old_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_install", lambda folder: None)
    monkeypatch.setattr(build, "SIZE_LIMIT", 100)
    (tmp_path / "lambda.zip").write_bytes(b"old")

    with pytest.raises(SystemExit, match="at most 100 are allowed"):
        build.build(tmp_path / "lambda.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["lambda.zip"]


def test_it_is_small_and_pure_python(zip_path: Path) -> None:
    names = zipfile.ZipFile(zip_path).namelist()

    assert zip_path.stat().st_size <= 3_000_000
    assert not [name for name in names if name.endswith((".so", ".pyd", ".pyc"))]
    assert not [name for name in names if name.startswith(("boto3/", "botocore/", "tests/"))]
    assert names == sorted(names)


@pytest.mark.parametrize("function", ["dispatcher", "monitor"])
def test_the_handlers_import_from_the_zip_with_only_boto3_beside_it(
    zip_path: Path, tmp_path: Path, function: str
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    site_packages = Path(boto3.__file__).parents[1]
    for name in ("boto3", "botocore", "s3transfer", "dateutil", "urllib3", "six.py"):
        (runtime / name).symlink_to(site_packages / name)

    with zipfile.ZipFile(zip_path) as archive:
        archive.extractall(tmp_path / "task")

    paths = [str(tmp_path / "task"), str(runtime)]
    program = f"import sys; sys.path[:0] = {paths}; import {function}, message; message.parse('{{}}', '')"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, env={}, cwd=tmp_path
    )

    # It got as far as refusing the message, with the contract that the zip carries.
    assert "splatworks.planning.bad_input.BadInputError: trigger_type: given nothing" in result.stderr


def test_the_pins_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = {
        line.split(" --hash")[0]
        for line in build.REQUIREMENTS.read_text().splitlines()
        if line and not line.startswith("#")
    }

    assert set(project["project"]["optional-dependencies"]["lambda"]) <= pinned
