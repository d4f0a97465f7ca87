"""What a splat_pipeline message makes of Batch and S3."""

import json
import re
from typing import Any

import pytest
from lambda_platform import RETRY_RULES, Platform, environment_of, forget_records

from splatworks.contract.documents.request import read_request, write_request
from splatworks.contract.documents.run import read_run, write_run


def pipeline(**data: Any) -> dict[str, Any]:
    return {
        "trigger_type": "splat_pipeline",
        "data": {"input": "photos/my-scene/", **data},
        "metadata": {"project": "demo"},
    }


def without_input(**data: Any) -> dict[str, Any]:
    message = pipeline(**data)
    del message["data"]["input"]
    return message


def put_result(platform: Platform, prefix: str) -> None:
    for name in ("splat.ply", "_SUCCESS"):
        platform.put("demo-output", f"{prefix}{name}")


def jobs_of(platform: Platform, answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The `job` of each stage's request.json."""
    prefix = answer["output"].removeprefix("s3://demo-output/")
    return {stage: platform.stored(f"{prefix}{stage}/request.json")["job"] for stage in answer["jobs"]}


def test_one_message_becomes_three_chained_jobs_of_the_names_times_and_machines_of_the_contract(
    platform: Platform,
) -> None:
    answer = platform.dispatch(pipeline())

    run = answer["run_id"]
    assert re.fullmatch(r"my-scene-[0-9a-f]{12}", run)
    kinds, hours = ("cpu", "gpu", "cpu"), (2, 6, 1)
    sent = platform.submissions
    assert [each["jobName"] for each in sent] == [f"{run}-sfm", f"{run}-train", f"{run}-compress"]
    assert [each["jobQueue"] for each in sent] == [platform.queues[kind] for kind in kinds]
    assert [each["timeout"]["attemptDurationSeconds"] for each in sent] == [hour * 3600 for hour in hours]
    jobs = answer["jobs"]
    assert [each.get("dependsOn") for each in sent] == [None, [{"jobId": jobs["sfm"]}], [{"jobId": jobs["train"]}]]
    assert [environment_of(each)["RUN_KEY"] for each in sent] == [f"runs/demo/{run}/run.json"] * 3
    assert [environment_of(each)["STAGE"] for each in sent] == ["sfm", "train", "compress"]
    assert [environment_of(each)["RUN_ID"] for each in sent] == [run] * 3
    assert [each["tags"]["stage"] for each in sent] == ["sfm", "train", "compress"]
    assert not any({"arrayProperties", "retryStrategy", "schedulingPriorityOverride"} & set(each) for each in sent)


def test_each_stage_reads_what_those_before_it_wrote(platform: Platform) -> None:
    answer = platform.dispatch(pipeline())

    runs = f"{answer['output']}"
    jobs = jobs_of(platform, answer)
    assert {stage: (job["input"], job["input_layout"]) for stage, job in jobs.items()} == {
        "sfm": (["s3://demo-input/photos/my-scene/"], "flat"),
        "train": ([f"{runs}sfm/"], "flat"),
        "compress": ([f"{runs}sfm/", f"{runs}train/"], "by_name"),
    }
    assert {job["script_key"] for job in jobs.values()} == {"stages/sfm.py", "stages/train.py", "stages/compress.py"}
    assert jobs["train"]["output_prefix"] == f"runs/demo/{answer['run_id']}/train/"
    assert jobs["train"]["checkpoint_prefix"] == f"checkpoints/demo/{answer['run_id']}/train/"
    assert {job["scenes_key"] for job in jobs.values()} == {None}
    assert [job["input_by_index"] for job in jobs.values()] == [[False], [False], [False, False]]


def test_run_json_tells_the_whole_run(platform: Platform) -> None:
    published = pipeline(max_cost_usd=3.5)

    answer = platform.dispatch(published, "id-1")

    run = platform.stored(f"runs/demo/{answer['run_id']}/run.json")
    stages = run.pop("stages")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", run.pop("submitted_at"))
    assert run == {
        "version": 1,
        "run_id": answer["run_id"],
        "project": "demo",
        "request_id": "id-1",
        "message": published,
        "scenes": {"count": 1, "key": None},
        "max_cost_usd": 3.5,
    }
    assert [(stage["stage"], stage["size"], stage["reused_from"], stage["compute_type"]) for stage in stages] == [
        ("sfm", 1, None, "cpu"),
        ("train", 1, None, "gpu"),
        ("compress", 1, None, "cpu"),
    ]
    for stage, sent in zip(stages, platform.submissions, strict=True):
        assert stage["submission"] == {name: value for name, value in sent.items() if name != "dependsOn"}
        assert stage["queue"] == sent["jobQueue"]
        assert stage["job_name"] == sent["jobName"]
        document = platform.stored(f"{stage['output_prefix']}request.json")
        assert document["job"] == stage["job"]
        assert document["message"] == published
        assert document["job"]["max_cost_usd"] == 3.5
        assert document["job"]["content_key"] == stage["content_key"]


@pytest.mark.parametrize(
    "data", [{}, {"sweep": {"train": {"cap_max": [100, 200]}}}, {"max_cost_usd": 2, "fresh": True}]
)
def test_documents_that_are_read_and_written_again_are_the_same(platform: Platform, data: dict[str, Any]) -> None:
    answer = platform.dispatch(pipeline(**data))

    folder = answer["output"].removeprefix("s3://demo-output/")
    run = platform.stored(f"{folder}run.json")
    assert json.loads(write_run(read_run(json.dumps(run), "run.json", ""))) == run
    for stage in answer["jobs"]:
        request = platform.stored(f"{folder}{stage}/request.json")
        assert json.loads(write_request(read_request(json.dumps(request), "request.json", ""))) == request


def test_a_preset_sets_quality_and_preset_and_a_stages_own_parameters_win(platform: Platform) -> None:
    answer = platform.dispatch(
        pipeline(preset="high", sfm={"parameters": {"Quality": "fast"}}, train={"parameters": {"cap_max": 500}})
    )

    jobs = jobs_of(platform, answer)
    assert jobs["sfm"]["parameters"] == {"Quality": "fast"}
    assert jobs["train"]["parameters"] == {"preset": "high", "cap_max": 500}
    assert jobs["compress"]["parameters"] == {}


def test_without_a_preset_the_stages_keep_their_own_defaults(platform: Platform) -> None:
    jobs = jobs_of(platform, platform.dispatch(pipeline()))

    assert {stage: job["parameters"] for stage, job in jobs.items()} == {"sfm": {}, "train": {}, "compress": {}}


def test_options_of_a_stage_reach_its_job_only(platform: Platform) -> None:
    platform.dispatch(
        pipeline(
            priority=7,
            job_name="harbour",
            sfm={"vcpus": 16, "memory": 20000, "spot": False},
            train={"compute_type": "cpu", "attempts": 5, "timeout_seconds": 60},
        )
    )

    sfm, train, compress = platform.submissions
    assert sfm["jobName"].startswith("harbour-")
    assert sfm["jobQueue"] == platform.queues["cpu-on-demand"]
    assert sfm["containerOverrides"]["resourceRequirements"] == [
        {"type": "VCPU", "value": "16"},
        {"type": "MEMORY", "value": "20000"},
    ]
    assert train["jobQueue"] == compress["jobQueue"] == platform.queues["cpu"]
    assert train["retryStrategy"] == {"attempts": 5, "evaluateOnExit": RETRY_RULES}
    assert train["timeout"] == {"attemptDurationSeconds": 60}
    assert {each["schedulingPriorityOverride"] for each in platform.submissions} == {7}


def test_training_starts_from_an_earlier_dataset_which_compression_reads_too(platform: Platform) -> None:
    put_result(platform, "runs/demo/a/sfm/")

    answer = platform.dispatch(pipeline(input="s3://demo-output/runs/demo/a/sfm/", steps="train"))

    assert list(answer["jobs"]) == ["train", "compress"]
    jobs = jobs_of(platform, answer)
    assert jobs["train"]["input"] == ["s3://demo-output/runs/demo/a/sfm/"]
    assert jobs["compress"]["input"] == ["s3://demo-output/runs/demo/a/sfm/", f"{answer['output']}train/"]


def test_compression_alone_takes_a_splat_with_or_without_its_dataset(platform: Platform) -> None:
    put_result(platform, "runs/demo/a/sfm/")
    put_result(platform, "runs/demo/a/train/")
    both = ["s3://demo-output/runs/demo/a/sfm/", "s3://demo-output/runs/demo/a/train/"]

    alone = jobs_of(platform, platform.dispatch(pipeline(input=both[1], steps="compress")))
    with_photos = jobs_of(platform, platform.dispatch(pipeline(input=both, steps="compress")))

    assert [(job["input"], job["input_layout"]) for job in alone.values()] == [([both[1]], "flat")]
    assert [(job["input"], job["input_layout"]) for job in with_photos.values()] == [(both, "by_name")]


def test_a_sweep_trains_and_compresses_each_variant_from_one_reconstruction(platform: Platform) -> None:
    sweep = {"train": {"cap_max": [100, 200]}, "compress": {"sh_degree": [0, 1, 3]}}

    answer = platform.dispatch(pipeline(sweep=sweep, train={"parameters": {"seed": 1}}))

    sfm, train, compress = platform.submissions
    assert "arrayProperties" not in sfm
    assert train["arrayProperties"] == compress["arrayProperties"] == {"size": 6}
    assert train["dependsOn"] == [{"jobId": answer["jobs"]["sfm"]}]
    assert compress["dependsOn"] == [{"jobId": answer["jobs"]["train"], "type": "N_TO_N"}]
    jobs = jobs_of(platform, answer)
    assert jobs["sfm"]["variants"] is None
    assert jobs["train"]["variants"] == [{"cap_max": size} for size in (100, 100, 100, 200, 200, 200)]
    assert jobs["compress"]["variants"] == [{"sh_degree": degree} for degree in (0, 1, 3, 0, 1, 3)]
    assert jobs["train"]["parameters"] == {"seed": 1}
    assert jobs["train"]["input_by_index"] == [False]
    assert jobs["compress"]["input_by_index"] == [False, True]
    assert jobs["sfm"]["content_key"]
    assert jobs["train"]["content_key"] is jobs["compress"]["content_key"] is None
    assert jobs["train"]["content_base"]
    run = platform.stored(f"runs/demo/{answer['run_id']}/run.json")
    assert [stage["size"] for stage in run["stages"]] == [1, 6, 6]
    assert run["stages"][1]["variants"] == jobs["train"]["variants"]


def test_a_sweep_of_compression_alone_trains_once(platform: Platform) -> None:
    answer = platform.dispatch(pipeline(sweep={"compress": {"sh_degree": [0, 3]}}))

    _, train, compress = platform.submissions
    assert "arrayProperties" not in train
    assert compress["arrayProperties"] == {"size": 2}
    assert compress["dependsOn"] == [{"jobId": answer["jobs"]["train"]}]
    assert jobs_of(platform, answer)["compress"]["input_by_index"] == [False, False]


def test_a_sweep_of_training_alone_compresses_each_variant_alike(platform: Platform) -> None:
    answer = platform.dispatch(pipeline(sweep={"train": {"cap_max": [100, 200]}}))

    assert jobs_of(platform, answer)["compress"]["variants"] == [{}, {}]
    assert platform.submissions[2]["arrayProperties"] == {"size": 2}


@pytest.mark.parametrize("way", ["folder", "list"])
def test_scenes_in_zips_are_called_the_same_whatever_their_ends_and_however_they_are_named(
    platform: Platform, way: str
) -> None:
    keys = [f"photos/batch/{name}" for name in ("a.zip", "b.ZIP", "c.Zip", "d.zip/1.jpg")]
    for key in keys:
        platform.put("demo-input", key)
    platform.put("demo-input", "lists/all.json", [*keys[:3], "photos/batch/d.zip/"])

    answer = platform.dispatch(without_input(inputs={"folder": "photos/batch/", "list": "lists/all.json"}[way]))

    scenes = platform.stored(f"runs/demo/{answer['run_id']}/scenes.json")
    assert [scene["name"] for scene in scenes] == ["a", "b", "c", "d.zip"]


def test_several_scenes_are_three_arrays_whose_children_wait_for_their_own(platform: Platform) -> None:
    for key in ("photos/batch/b/1.jpg", "photos/batch/a/1.jpg", "photos/batch/c.zip", "photos/batch/readme.txt"):
        platform.put("demo-input", key)

    answer = platform.dispatch(without_input(inputs="photos/batch/"))

    sfm, train, compress = platform.submissions
    assert [each["arrayProperties"] for each in platform.submissions] == [{"size": 3}] * 3
    assert "dependsOn" not in sfm
    assert train["dependsOn"] == [{"jobId": answer["jobs"]["sfm"], "type": "N_TO_N"}]
    assert compress["dependsOn"] == [{"jobId": answer["jobs"]["train"], "type": "N_TO_N"}]
    scenes_key = f"runs/demo/{answer['run_id']}/scenes.json"
    assert platform.stored(scenes_key) == [
        {"name": "a", "input": ["s3://demo-input/photos/batch/a/"]},
        {"name": "b", "input": ["s3://demo-input/photos/batch/b/"]},
        {"name": "c", "input": ["s3://demo-input/photos/batch/c.zip"]},
    ]
    jobs = jobs_of(platform, answer)
    assert [job["scenes_key"] for job in jobs.values()] == [scenes_key, None, None]
    assert {job["carried_scenes_key"] for job in jobs.values()} == {None}
    assert [job["input_by_index"] for job in jobs.values()] == [[], [True], [True, True]]
    assert {job["content_key"] for job in jobs.values()} == {None}
    run = platform.stored(f"runs/demo/{answer['run_id']}/run.json")
    assert run["scenes"] == {"count": 3, "key": scenes_key}


def test_datasets_of_several_scenes_are_read_by_compression_too(platform: Platform) -> None:
    for index in range(2):
        put_result(platform, f"runs/demo/a/sfm/{index}/")

    answer = platform.dispatch(without_input(inputs="s3://demo-output/runs/demo/a/sfm/", steps="train"))

    jobs = jobs_of(platform, answer)
    scenes_key = f"runs/demo/{answer['run_id']}/scenes.json"
    assert [each["input"] for each in platform.stored(scenes_key)] == [
        ["s3://demo-output/runs/demo/a/sfm/0/"],
        ["s3://demo-output/runs/demo/a/sfm/1/"],
    ]
    assert [job["scenes_key"] for job in jobs.values()] == [scenes_key, None]
    assert [job["carried_scenes_key"] for job in jobs.values()] == [None, scenes_key]
    assert [job["input"] for job in jobs.values()] == [[], [f"{answer['output']}train/"]]
    assert [job["input_layout"] for job in jobs.values()] == ["flat", "by_name"]


def test_trained_splats_of_several_scenes_are_compressed_alone(platform: Platform) -> None:
    for index in range(2):
        put_result(platform, f"runs/demo/a/train/{index}/")

    answer = platform.dispatch(without_input(inputs="s3://demo-output/runs/demo/a/train/", steps="compress"))

    (job,) = jobs_of(platform, answer).values()
    assert (job["scenes_key"], job["carried_scenes_key"]) == (f"runs/demo/{answer['run_id']}/scenes.json", None)
    assert (job["input"], job["input_layout"]) == ([], "flat")


def test_one_dataset_of_several_is_read_by_compression_too(platform: Platform) -> None:
    put_result(platform, "runs/demo/a/sfm/0/")

    answer = platform.dispatch(without_input(inputs="s3://demo-output/runs/demo/a/sfm/", steps="train"))

    compress = jobs_of(platform, answer)["compress"]
    assert compress["input"] == ["s3://demo-output/runs/demo/a/sfm/0/", f"{answer['output']}train/"]
    assert (compress["input_layout"], compress["carried_scenes_key"]) == ("by_name", None)


def test_one_scene_of_several_is_a_plain_chain(platform: Platform) -> None:
    platform.put("demo-input", "photos/batch/only/1.jpg")

    answer = platform.dispatch(without_input(inputs="photos/batch/"))

    assert not any("arrayProperties" in each for each in platform.submissions)
    assert jobs_of(platform, answer)["sfm"]["input"] == ["s3://demo-input/photos/batch/only/"]
    assert platform.stored(f"runs/demo/{answer['run_id']}/run.json")["scenes"] == {"count": 1, "key": None}


def test_a_list_names_scenes_wherever_they_lie(platform: Platform) -> None:
    platform.put("partner-photos", "flight/1.jpg")
    entries = ["photos/my-scene", {"name": "Pier 3", "input": "s3://partner-photos/flight/"}]
    platform.put("demo-input", "lists/today.json", entries)

    answer = platform.dispatch(without_input(inputs="lists/today.json"))

    assert platform.stored(f"runs/demo/{answer['run_id']}/scenes.json") == [
        {"name": "my-scene", "input": ["s3://demo-input/photos/my-scene"]},
        {"name": "Pier 3", "input": ["s3://partner-photos/flight/"]},
    ]
    assert answer["run_id"].startswith("today-")


def test_scenes_json_of_a_run_is_a_list_of_scenes_itself(platform: Platform) -> None:
    for name in "ab":
        platform.put("demo-input", f"photos/batch/{name}/1.jpg")
    first = platform.dispatch(without_input(inputs="photos/batch/"))
    key = f"runs/demo/{first['run_id']}/scenes.json"

    again = platform.dispatch(without_input(inputs=f"s3://demo-output/{key}"))

    assert platform.stored(f"runs/demo/{again['run_id']}/scenes.json") == platform.stored(key)


def test_the_same_request_id_with_another_body_is_refused_and_leaves_the_chain_alone(platform: Platform) -> None:
    first = platform.dispatch(pipeline(request_id="nightly-1"), "one")

    answer = platform.dispatch(pipeline(request_id="nightly-1", preset="high"), "two")

    assert "data.request_id" in answer["refused"]
    assert platform.dispatch(pipeline(request_id="nightly-1"), "three") == first
    assert len(platform.submissions) == 3


def test_a_run_whose_record_was_lost_does_not_answer_for_another_body(platform: Platform) -> None:
    platform.dispatch(pipeline(request_id="nightly-1"), "one")
    forget_records()

    answer = platform.dispatch(pipeline(request_id="nightly-1", preset="high"), "two")

    assert "data.request_id" in answer["refused"]
    assert len(platform.submissions) == 3


@pytest.mark.parametrize("project", ["", "../..", "Über/all"])
def test_whatever_the_project_the_runs_place_is_a_safe_key(platform: Platform, project: str) -> None:
    answer = platform.dispatch({**pipeline(), "metadata": {"project": project}})

    assert re.fullmatch(r"s3://demo-output/runs/[A-Za-z0-9_-]+/my-scene-[0-9a-f]{12}/", answer["output"])
