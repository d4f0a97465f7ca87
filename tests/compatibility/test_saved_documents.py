"""Every saved document of version 0.1 is read with the same content, and written back the same but for additions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from versions import SAVED

from splatworks.contract.documents.codec import PUSH_THE_IMAGE
from splatworks.contract.documents.job import read_job, read_job_strictly, write_job
from splatworks.contract.documents.progress import progress_json, read_progress
from splatworks.contract.documents.request import read_request, write_request
from splatworks.contract.documents.result import read_result, result_json
from splatworks.contract.documents.reuse import read_reuse_entry, write_reuse_entry
from splatworks.contract.documents.run import read_run, write_run
from splatworks.contract.documents.scenes import read_scenes, scenes_json

DOCUMENTS = SAVED / "documents"
# By file name: the text of a document, read and written again.
AGAIN: dict[str, Callable[[bytes, str], Any]] = {
    "request.json": lambda text, key: write_request(read_request(text, key, PUSH_THE_IMAGE)),
    "run.json": lambda text, key: write_run(read_run(text, key, PUSH_THE_IMAGE)),
    "job.json": lambda text, key: write_job(read_job(text, key, PUSH_THE_IMAGE)),
    "scenes.json": lambda text, key: json.dumps(scenes_json(read_scenes(text, key, PUSH_THE_IMAGE))),
    "result.json": lambda text, key: json.dumps(result_json(read_result(text, key, PUSH_THE_IMAGE))),
    "progress.json": lambda text, key: json.dumps(progress_json(read_progress(text, key, PUSH_THE_IMAGE))),
    "reuse": lambda text, key: write_reuse_entry(read_reuse_entry(text, key, PUSH_THE_IMAGE)),
}


def kind_of(path: Path) -> str:
    return "reuse" if path.parent.name == "reuse" else path.name


def saved(*kinds: str) -> list[Any]:
    paths = [path for path in sorted(DOCUMENTS.rglob("*.json")) if not kinds or kind_of(path) in kinds]
    return [pytest.param(path, id=path.relative_to(DOCUMENTS).as_posix()) for path in paths]


def assert_within(old: Any, new: Any, where: str = "") -> None:
    """All of `old` is in `new`; objects may have more fields, and an absent list may be null or empty."""
    if old is None and new == []:
        return
    if isinstance(old, dict):
        assert isinstance(new, dict), where
        for name, value in old.items():
            assert name in new, f"{where}.{name} is gone"
            assert_within(value, new[name], f"{where}.{name}")
    elif isinstance(old, list):
        assert isinstance(new, list) and len(new) == len(old), where
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            assert_within(one, other, f"{where}[{index}]")
    else:
        assert new == old and type(new) is type(old), where


def test_there_are_documents_of_every_kind() -> None:
    assert {kind_of(param.values[0]) for param in saved()} == set(AGAIN)


@pytest.mark.parametrize("path", saved())
def test_a_document_is_written_back_as_it_was_read(path: Path) -> None:
    text = path.read_bytes()
    assert_within(json.loads(text), json.loads(AGAIN[kind_of(path)](text, path.name)))


@pytest.mark.parametrize("path", saved())
def test_fields_that_a_later_version_adds_are_ignored(path: Path) -> None:
    document = json.loads(path.read_text())
    added = [{**each, "added": [1]} for each in document] if isinstance(document, list) else {**document, "added": [1]}
    again = AGAIN[kind_of(path)]
    assert json.loads(again(json.dumps(added).encode(), "x")) == json.loads(again(path.read_bytes(), "x"))


@pytest.mark.parametrize("path", saved("request.json", "run.json", "job.json"))
def test_a_document_without_a_version_is_read_as_the_version_before(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document.pop("version") == 1
    again = AGAIN[kind_of(path)]
    assert json.loads(again(json.dumps(document).encode(), "x")) == json.loads(again(path.read_bytes(), "x"))


@pytest.mark.parametrize("path", saved("job.json"))
def test_the_strict_reader_of_costs_takes_every_report(path: Path) -> None:
    text = path.read_bytes()
    assert read_job_strictly(text, "x", "") == read_job(text, "x", "")
