"""A fourth stage costs two files: an entry of the table and a script. Everything else takes it from the table."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fourth_stage_platform import NAME, FourStages, started
from lambda_platform import saved_event

from splatworks.contract.stages import STAGES

MESSAGE: dict[str, Any] = {
    "trigger_type": "splat_pipeline",
    "data": {"input": "photos/my-scene/", "job_name": "harbour", NAME: {"parameters": {"limit": 7}}},
    "metadata": {"user": "ml-engineer", "project": "surveys"},
}
ORDER = ["sfm", "train", "compress", NAME]


def with_limit(limit: Any) -> dict[str, Any]:
    return MESSAGE | {"data": MESSAGE["data"] | {NAME: {"parameters": {"limit": limit}}}}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FourStages]:
    with started(tmp_path_factory.mktemp("fourth-stage")) as platform:
        yield platform


@pytest.fixture(scope="module")
def answer(four: FourStages) -> dict[str, Any]:
    return four.dispatch(MESSAGE, "one")


@pytest.fixture(scope="module")
def run(four: FourStages, answer: dict[str, Any]) -> dict[str, Any]:
    """run.json, after the runner has run every stage."""
    document: dict[str, Any] = four.stored(f"{answer['output'].removeprefix('s3://demo-output/')}run.json")
    for stage in document["stages"]:
        report = four.run_stage(stage, answer["jobs"][stage["stage"]])
        assert (report["ended"], report["stage"]) == ("done", stage["stage"])
    return document


def ended_event(stage: dict[str, Any], job_id: str) -> dict[str, Any]:
    event = saved_event("job_succeeded")
    event["detail"] |= {"jobName": stage["job_name"], "jobId": job_id, "jobQueue": stage["queue"]}
    event["detail"]["container"]["environment"] = stage["submission"]["containerOverrides"]["environment"]
    return event


def test_it_stays_out_of_the_shipped_table() -> None:
    assert NAME not in STAGES
    assert NAME not in (Path(__file__).parents[3] / "README.md").read_text().split("`")


def test_the_dispatcher_chains_it_after_the_stage_that_it_reads(answer: dict[str, Any], run: dict[str, Any]) -> None:
    assert list(answer["jobs"]) == ORDER
    assert [stage["stage"] for stage in run["stages"]] == ORDER
    last = run["stages"][-1]
    assert last["job"]["script_key"] == f"stages/{NAME}.py"
    assert last["job"]["input"] == [f"s3://demo-output/{run['stages'][-2]['output_prefix']}"]
    assert last["job"]["parameters"] == {"limit": 7}
    assert last["submission"]["timeout"] == {"attemptDurationSeconds": 600}


def test_it_is_optional(four: FourStages) -> None:
    data = {name: value for name, value in MESSAGE["data"].items() if name != NAME} | {"fresh": True}
    assert list(four.dispatch(MESSAGE | {"data": data}, "without")["jobs"]) == ORDER[:3]


def test_a_run_can_start_with_it(four: FourStages) -> None:
    data = {"input": "photos/my-scene/", "steps": NAME}
    assert list(four.dispatch(MESSAGE | {"data": data}, "alone")["jobs"]) == [NAME]


def test_the_runner_runs_its_script_with_the_contract_from_the_bucket(four: FourStages, run: dict[str, Any]) -> None:
    prefix = run["stages"][-1]["output_prefix"]
    result, progress = four.stored(f"{prefix}result.json"), four.stored(f"{prefix}progress.json")
    assert (result["status"], result["metrics"]["limit"]) == ("done", 7)
    assert result["metrics"]["files"] >= 1
    assert (progress["stage"], progress["fraction"]) == (NAME, 1.0)


def test_the_email_names_the_stage_and_its_figure(
    four: FourStages, answer: dict[str, Any], run: dict[str, Any]
) -> None:
    four.platform.emails()
    told = four.monitor(ended_event(run["stages"][2], answer["jobs"]["compress"]))
    assert "skipped" in told, "the run ends with its last stage"
    four.monitor(ended_event(run["stages"][-1], answer["jobs"][NAME]))
    subject, body = four.platform.email()
    files = four.stored(f"{run['stages'][-1]['output_prefix']}result.json")["metrics"]["files"]
    assert f"{files} of 7 files" in subject and run["run_id"] in subject
    lines = [line.split() for line in body.splitlines()]
    assert ["Counted:", str(files), "of", "7", "files"] in lines
    assert [f"{NAME}:", "done"] in [words[:2] for words in lines]


def test_status_shows_it(four: FourStages, run: dict[str, Any]) -> None:
    ended = four.splatworks("status", run["run_id"], "--json")
    assert ended.returncode == 0, ended.stderr
    assert [
        stage["stage"] if "stage" in stage else stage["name"] for stage in json.loads(ended.stdout)["stages"]
    ] == ORDER
    table = four.splatworks("status", run["run_id"]).stdout
    (line,) = [line for line in table.splitlines() if NAME in line.split()]
    assert "files" in line


@pytest.mark.parametrize("limit", [0, 11, 99, "many", 2.5])
def test_the_dispatcher_refuses_a_parameter_out_of_range(four: FourStages, limit: Any) -> None:
    refused = four.dispatch(with_limit(limit), f"limit {limit}")["refused"]
    assert f"data.{NAME}.parameters.limit" in refused and "a whole number from 1 to 10" in refused


def test_the_dispatcher_refuses_an_unknown_parameter(four: FourStages) -> None:
    message = MESSAGE | {"data": MESSAGE["data"] | {NAME: {"parameters": {"limti": 3}}}}
    assert "Did you mean limit?" in four.dispatch(message, "typo")["refused"]


def test_the_command_line_refuses_a_parameter_out_of_range(four: FourStages) -> None:
    refused = four.splatworks("message", "photos/my-scene/", "--set", f"{NAME}.limit=99")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "limit" in refused.stderr and "from 1 to 10" in refused.stderr


def test_the_command_line_knows_the_stage(four: FourStages) -> None:
    made = four.splatworks("message", "photos/my-scene/", "--set", f"{NAME}.limit=3", "--gpu", NAME)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["data"][NAME] == {"compute_type": "gpu", "parameters": {"limit": 3}}
    steps = four.splatworks("message", "photos/my-scene/", "--steps", NAME)
    assert json.loads(steps.stdout)["data"]["steps"] == NAME, steps.stderr
