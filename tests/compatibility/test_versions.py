"""A runner that meets a later version stops for good and asks for its image; one version back is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from versions import NEW, Buckets, Ended

from splatworks.contract.documents.codec import PUSH_THE_IMAGE

After = Callable[[str], Buckets]


def change(buckets: Buckets, key: str, changes: dict[str, Any], without: str = "") -> None:
    document = {**json.loads(buckets.read(key)), **changes}
    document.pop(without, None)
    buckets.put(key, json.dumps(document).encode())


def assert_asks_for_the_image(ended: Ended, name: str) -> None:
    error = ended.report["error"]
    assert (ended.exit_code, ended.report["exit_code"], ended.report["ended"]) == (2, 2, "input_error"), ended.log
    assert f"{name} has version 2" in error["cause"] and error["fix"] == PUSH_THE_IMAGE
    assert error["retryable"] is False and PUSH_THE_IMAGE in ended.log


def key_of(buckets: Buckets, run: str, end: str) -> str:
    (key,) = [key for key in buckets.object_keys() if f"/{run}-" in key and key.endswith(end)]
    return key


@pytest.fixture
def there(buckets: After) -> Buckets:
    return buckets(NEW)


def test_a_later_request(there: Buckets, runners: dict[str, Path]) -> None:
    change(there, key_of(there, "single", "request.json"), {"version": 2})
    assert_asks_for_the_image(there.run(NEW, runners[NEW], "single"), "request.json")


def test_a_later_run(there: Buckets, runners: dict[str, Path]) -> None:
    change(there, key_of(there, "chain", "run.json"), {"version": 2})
    assert_asks_for_the_image(there.run(NEW, runners[NEW], "chain", "sfm"), "run.json")


def test_later_scenes(there: Buckets, runners: dict[str, Path]) -> None:
    key = key_of(there, "scenes", "scenes.json")
    there.put(key, json.dumps({"version": 2, "scenes": json.loads(there.read(key))}).encode())
    assert_asks_for_the_image(there.run(NEW, runners[NEW], "scenes", "sfm", 0), "scenes.json")


def test_a_later_report_of_the_stage_before(there: Buckets, runners: dict[str, Path]) -> None:
    sfm = there.run(NEW, runners[NEW], "chain", "sfm")
    change(there, f"{sfm.prefix}job.json", {"version": 2})
    there.put(f"{sfm.prefix}_SUCCESS", b"")
    assert_asks_for_the_image(there.run(NEW, runners[NEW], "chain", "train"), "job.json")


def test_a_later_report_of_the_attempt_before(there: Buckets, runners: dict[str, Path]) -> None:
    before = there.run(NEW, runners[NEW], "single")
    change(there, f"{before.prefix}job.json", {"version": 2})
    ended = there.run(NEW, runners[NEW], "single", attempt=2)
    assert_asks_for_the_image(ended, "the report of an earlier attempt")


@pytest.mark.parametrize(("changes", "without"), [({}, "version"), ({"version": 0}, ""), ({"added": {"a": 1}}, "")])
def test_requests_and_runs_of_the_version_before_and_unknown_fields(
    there: Buckets, runners: dict[str, Path], changes: dict[str, Any], without: str
) -> None:
    change(there, key_of(there, "chain", "run.json"), changes, without)
    change(there, key_of(there, "chain", "sfm/request.json"), changes, without)
    ended = there.run(NEW, runners[NEW], "chain", "sfm")
    assert ended.exit_code == 0, ended.log
