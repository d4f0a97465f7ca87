"""The dispatcher and the monitor on the same run: what the one writes the other reads, and the other way round."""

import copy
from typing import Any

import pytest
from lambda_platform import Platform
from pipeline_run import MESSAGE

from gather.documents import read_run
from splatworks.contract.documents.run import RunDocument, RunStage
from splatworks.report import rerun


@pytest.fixture
def submitted(platform: Platform) -> RunDocument:
    platform.put("demo-input", "photos/harbour/1.jpg")
    return dispatched(platform, MESSAGE)


def dispatched(platform: Platform, message: dict[str, Any]) -> RunDocument:
    answer = platform.dispatch(message)
    assert "run_id" in answer, answer
    return read_run("demo-output", answer["output"].removeprefix("s3://demo-output/") + "run.json")


def inputs_of(stage: RunStage) -> tuple[str, ...]:
    assert stage.job
    return stage.job.input


def finish(platform: Platform, run: RunDocument, *names: str) -> None:
    for stage in run.stages:
        if stage.stage in names:
            for file in ("splat.ply" if stage.stage == "train" else "sparse/0/cameras.bin", "_SUCCESS"):
                platform.put("demo-output", f"{stage.output_prefix}{file}")


def test_the_run_that_the_dispatcher_wrote_is_read_as_it_meant_it(submitted: RunDocument) -> None:
    folder = f"s3://demo-output/{submitted.folder}"
    assert submitted.folder == f"runs/surveys/{submitted.run_id}/"
    assert submitted.label == "harbour"
    assert [(stage.stage, stage.job_name, stage.size) for stage in submitted.stages] == [
        (name, f"{submitted.run_id}-{name}", 1) for name in ("sfm", "train", "compress")
    ]
    assert [(stage.job and stage.job.input_layout, inputs_of(stage)) for stage in submitted.stages] == [
        ("flat", ("s3://demo-input/photos/harbour/",)),
        ("flat", (f"{folder}sfm/",)),
        ("by_name", (f"{folder}sfm/", f"{folder}train/")),
    ]
    assert submitted.message == MESSAGE


@pytest.mark.parametrize("index", [1, 2])
def test_a_run_goes_on_from_the_stage_that_failed_under_the_same_label(
    platform: Platform, submitted: RunDocument, index: int
) -> None:
    failed = submitted.stages[index]
    finish(platform, submitted, *(stage.stage for stage in submitted.stages[:index]))

    went_on = dispatched(platform, rerun.from_stage(submitted, failed))

    assert went_on.run_id != submitted.run_id
    assert went_on.label == "harbour"
    assert [stage.stage for stage in went_on.stages] == [stage.stage for stage in submitted.stages[index:]]
    assert inputs_of(went_on.stages[0]) == inputs_of(failed)
    assert went_on.message["metadata"] == submitted.message["metadata"]


def test_a_run_that_went_on_can_go_on_again(platform: Platform, submitted: RunDocument) -> None:
    finish(platform, submitted, "sfm")
    second = dispatched(platform, rerun.from_stage(submitted, submitted.stages[1]))
    # Where training starts from a dataset, compression reads that and what training makes of it.
    assert inputs_of(second.stages[1]) == (*inputs_of(submitted.stages[1]), f"s3://demo-output/{second.folder}train/")
    finish(platform, second, "train")

    third = dispatched(platform, rerun.from_stage(second, second.stages[1]))

    assert [stage.stage for stage in third.stages] == ["compress"]
    assert inputs_of(third.stages[0]) == (
        f"s3://demo-output/{submitted.folder}sfm/",
        f"s3://demo-output/{second.folder}train/",
    )


def test_the_first_stage_starts_again_as_a_run_of_its_own(platform: Platform, submitted: RunDocument) -> None:
    again = dispatched(platform, rerun.from_stage(submitted, submitted.stages[0]))

    assert again.run_id != submitted.run_id
    assert inputs_of(again.stages[0]) == inputs_of(submitted.stages[0])


def test_the_variants_of_a_sweep_are_read_by_stage(platform: Platform) -> None:
    platform.put("demo-input", "photos/harbour/1.jpg")
    message = copy.deepcopy(MESSAGE)
    message["data"]["sweep"] = {"train": {"cap_max": [1000, 2000]}, "compress": {"sh_degree": [0, 3]}}

    run = dispatched(platform, message)

    assert [stage.is_array for stage in run.stages] == [False, True, True]
    assert run.stages[1].variants == ({"cap_max": 1000}, {"cap_max": 1000}, {"cap_max": 2000}, {"cap_max": 2000})
    assert run.stages[2].variants == ({"sh_degree": 0}, {"sh_degree": 3}, {"sh_degree": 0}, {"sh_degree": 3})
