"""The content key, by the numbers that tests/events/content_key.json fixes.

The file pins the formula for the runner here and the dispatcher's code for the same formula
(modules/lambda/functions) in tests/unit/lambda: where the two differ, nothing would ever be found again.
"""

import hashlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobrunner.fetch.ingredients import ingredient
from jobrunner.store import RemoteFile
from splatworks.contract.content_keys import content_key, objects_digest, script_digest

VECTOR = json.loads((Path(__file__).parents[2] / "events" / "content_key.json").read_text())


def test_the_key_is_the_one_that_the_dispatcher_makes() -> None:
    assert objects_digest(map(tuple, VECTOR["objects"])) == VECTOR["objects_digest"]
    assert content_key(VECTOR["content_base"], VECTOR["parameters"], VECTOR["inputs"]) == VECTOR["content_key"]


def test_the_vector_is_what_the_contract_says_and_not_only_what_the_code_does() -> None:
    listed = '[["Z\\u00fcrich 1.jpg",0,"d41d8cd98f00b204e9800998ecf8427e"],["a.jpg",12,"5d41402abc4b2a76b9719d911017c592-2"],["b/DSC_0001.JPG",4123456,"900150983cd24fb0d6963f7d28e17f72"]]'  # noqa: E501
    assert hashlib.sha256(listed.encode()).hexdigest() == VECTOR["objects_digest"]
    base = json.dumps(VECTOR["base"], sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(base.encode()).hexdigest() == VECTOR["content_base"]


def test_the_order_of_names_and_of_a_listing_does_not_matter() -> None:
    shuffled = random.Random(1).sample(VECTOR["objects"], len(VECTOR["objects"]))
    parameters = dict(reversed(VECTOR["parameters"].items()))
    assert objects_digest(map(tuple, shuffled)) == VECTOR["objects_digest"]
    assert content_key(VECTOR["content_base"], parameters, VECTOR["inputs"]) == VECTOR["content_key"]


def test_the_digest_of_the_scripts_is_that_of_their_part_of_the_base() -> None:
    script = VECTOR["base"]["script"]
    canonical = json.dumps(script, sort_keys=True, separators=(",", ":"))
    assert script_digest(map(tuple, script)) == hashlib.sha256(canonical.encode()).hexdigest()
    listed = [("stages/", "d41d8cd98f00b204e9800998ecf8427e"), *((key, f'"{etag}"') for key, etag in reversed(script))]
    assert script_digest(listed) == script_digest(map(tuple, script))
    assert script_digest([*listed, ("stages/new.py", "1")]) != script_digest(listed)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("content_base", "0" * 64),
        ("parameters", {**VECTOR["parameters"], "cap_max": 200001}),
        ("parameters", {**VECTOR["parameters"], "cap_max": "200000"}),
        ("inputs", VECTOR["inputs"][::-1]),
        ("inputs", VECTOR["inputs"][:1]),
    ],
)
def test_whatever_changes_the_result_changes_the_key(name: str, other: Any) -> None:
    changed = {**VECTOR, name: other}
    assert content_key(changed["content_base"], changed["parameters"], changed["inputs"]) != VECTOR["content_key"]


def test_what_starts_a_run_and_sets_its_options_is_no_input() -> None:
    def digest(*names: str) -> str:
        files = [RemoteFile("photos", f"a/{name}", 1, name, datetime.now(UTC)) for name in names]
        return ingredient(files, "a/", None).digest

    assert digest("1.jpg", "_READY", "pipeline.json") == digest("1.jpg")
    assert digest("1.jpg", "b/_READY") != digest("1.jpg")
