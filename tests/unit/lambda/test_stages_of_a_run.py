"""Planning with another table of stages: what each stage of a run reads, and what its content key is made of."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from splatworks.contract.content_keys import content_key
from splatworks.contract.documents.request import JobRequest
from splatworks.contract.documents.run import Scenes
from splatworks.contract.stage import Stage
from splatworks.contract.stages import STAGES, ordered, stages_to_run
from splatworks.lookup import results
from splatworks.lookup.results import StageResult
from splatworks.planning import pipeline_order
from splatworks.planning.bad_input import BadInputError
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import PipelineOrder, order_pipeline
from splatworks.planning.pipeline_plan import Findings, Sources, content_bases, content_keys_of, run_document
from splatworks.planning.settings import Compute, DispatcherSettings, Instance

PHOTOS, SCENES = "s3://in/photos/yard/", "runs/default/scenes.json"


@dataclass(frozen=True, kw_only=True)
class NoParameters:
    pass


def stage(name: str, *reads: str, **more: Any) -> Stage:
    return Stage(
        name=name,
        title=name,
        image="ml-python-slim",
        compute_type="cpu",
        timeout_seconds=600,
        reads=reads,
        parameters=NoParameters,
        **more,
    )


def compute(kind: str, gpus: int) -> Compute:
    return Compute(
        queue=kind,
        on_demand_queue=None,
        job_definition=kind,
        vcpus=4,
        memory=8000,
        gpus=gpus,
        max_vcpus=64,
        instances=(Instance("any", 16, 64000, gpus),),
        image="image",
    )


SETTINGS = DispatcherSettings(
    project_name="demo",
    input_bucket="in",
    output_bucket="out",
    models_bucket="models",
    extra_input_buckets=(),
    compute={"cpu": compute("cpu", 0), "gpu": compute("gpu", 1)},
    retry_rules=[],
    notification_topic_arn="",
    trigger_topic_arn="",
    dlq_url="",
    idempotency_table="",
)


@pytest.fixture
def more_stages(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Stage]:
    """`mask` reads the photos before sfm does; `export` and `pack` read what others wrote; `depth` is optional."""
    added = [
        stage("mask"),
        stage("depth", "sfm", optional=True),
        stage("export", "sfm", "train", "depth"),
        stage("pack", "compress"),
    ]
    table = ordered({**STAGES, **{each.name: each for each in added}})
    monkeypatch.setattr(pipeline_order, "STAGES", table)
    monkeypatch.setattr(pipeline_order, "stages_to_run", functools.partial(stages_to_run, stages=table))
    return table


def request(**data: Any) -> Request:
    return Request(identity="one", trigger_type="splat_pipeline", data=data, metadata={}, published={})


def keys_of(order: PipelineOrder, *inputs: str) -> dict[str, str]:
    return content_keys_of(order, bases_of(order), inputs)


def bases_of(order: PipelineOrder) -> dict[str, str]:
    return content_bases(order, Sources(scripts=(), images={"cpu": "cpu", "gpu": "gpu"}, inputs=(), origins=()))


def jobs(scenes: int = 1, **data: Any) -> dict[str, JobRequest]:
    asked = request(**data)
    order = order_pipeline(asked, SETTINGS)
    findings = Findings(
        bases={each.name: "base" for each in order.stages},
        script_digest="digest",
        keys={},
        reused={},
        scenes=Scenes(count=scenes, key=SCENES) if scenes > 1 else Scenes(),
    )
    return {each.stage: each.job for each in run_document(asked, order, SETTINGS, findings).stages if each.job}


def read_by(job: JobRequest) -> list[str]:
    """Stages by their names, other locations as they are."""
    return [uri.split("/")[-2] if uri.startswith("s3://out/") else uri for uri in job.input]


@pytest.mark.usefixtures("more_stages")
def test_every_stage_that_reads_no_other_reads_the_photos() -> None:
    found = {name: read_by(job) for name, job in jobs(input="photos/yard/").items()}

    assert found == {
        "mask": [PHOTOS],
        "sfm": [PHOTOS],
        "train": ["sfm"],
        "compress": ["sfm", "train"],
        "export": ["sfm", "train"],
        "pack": ["compress"],
    }


@pytest.mark.usefixtures("more_stages")
def test_an_optional_stage_is_read_if_it_runs() -> None:
    assert read_by(jobs(input="photos/yard/", depth={})["export"]) == ["sfm", "depth", "train"]


@pytest.mark.usefixtures("more_stages")
def test_a_stage_reads_the_message_for_what_a_later_start_leaves_out() -> None:
    found = {name: read_by(job) for name, job in jobs(input="photos/yard/", steps="train").items()}

    assert found == {
        "train": [PHOTOS],
        "compress": [PHOTOS, "train"],
        "export": [PHOTOS, "train"],
        "pack": ["compress"],
    }


@pytest.mark.usefixtures("more_stages")
def test_each_child_of_a_stage_that_reads_no_other_reads_its_scene() -> None:
    found = jobs(scenes=3, inputs="photos/")

    assert {name: job.scenes_key for name, job in found.items() if job.scenes_key} == {"mask": SCENES, "sfm": SCENES}
    assert [job.carried_scenes_key for job in found.values()] == [None] * len(found)
    assert (found["sfm"].input, found["sfm"].input_layout) == ((), "flat")


@pytest.mark.usefixtures("more_stages")
def test_the_key_of_a_stage_that_reads_the_photos_follows_from_them() -> None:
    order = order_pipeline(request(input="photos/yard/"), SETTINGS)
    one, other = keys_of(order, "photos"), keys_of(order, "other photos")

    assert [name for name in one if one[name] == other[name]] == []


@pytest.mark.usefixtures("more_stages")
def test_the_key_of_a_stage_follows_from_the_stages_that_it_reads_alone() -> None:
    without = keys_of(order_pipeline(request(input="photos/yard/"), SETTINGS), "photos")
    with_depth = keys_of(order_pipeline(request(input="photos/yard/", depth={}), SETTINGS), "photos")

    assert {name for name in without if without[name] != with_depth[name]} == {"export"}


@pytest.mark.usefixtures("more_stages")
def test_the_key_has_the_stages_that_are_read_in_the_order_of_the_inputs() -> None:
    """The runner makes the key from the job's input."""
    order = order_pipeline(request(input="photos/yard/", depth={}), SETTINGS)
    keys = keys_of(order, "photos")

    inputs = [keys[name] for name in read_by(jobs(input="photos/yard/", depth={})["export"])]
    assert keys["export"] == content_key(bases_of(order)["export"], {}, inputs)


@pytest.mark.usefixtures("more_stages")
def test_a_run_can_start_with_a_stage_on_all_that_it_reads() -> None:
    inputs = ["runs/a/sfm/", "runs/a/train/", "runs/a/depth/"]

    assert jobs(input=inputs, steps="export")["export"].input == tuple(f"s3://in/{each}" for each in inputs)
    with pytest.raises(BadInputError, match="at most 3 if the first stage is export"):
        jobs(input=[*inputs, "more/"], steps="export")


@pytest.mark.usefixtures("more_stages")
def test_a_result_counts_if_it_was_made_from_what_its_stage_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither sfm nor pack reads the stage right before it."""
    order = order_pipeline(request(input="photos/yard/"), SETTINGS)
    keys = keys_of(order, "photos")
    recorded = {
        each.name: (f"runs/a/b/{each.name}/", StageResult(keys[each.name], each.name, frozenset(each.reads)))
        for each in order.stages
    }
    monkeypatch.setattr(results, "_recorded", lambda clients, name, key, bucket: recorded[name])

    found = results.usable_results(lambda service: None, order.stages, keys, (), "out")
    assert list(found) == ["mask", "sfm", "train", "compress", "export", "pack"]

    recorded["compress"] = (recorded["compress"][0], replace(recorded["compress"][1], input_origins=frozenset(["sfm"])))
    found = results.usable_results(lambda service: None, order.stages, keys, (), "out")
    assert list(found) == ["mask", "sfm", "train"]


@pytest.mark.usefixtures("more_stages")
def test_only_a_stage_that_reads_the_message_must_be_made_from_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    order = order_pipeline(request(input="runs/a/b/sfm/", steps="train"), SETTINGS)
    keys = keys_of(order, "dataset")
    made_from = {"train": ["dataset"], "compress": ["dataset", "train"], "export": ["train"], "pack": ["compress"]}
    monkeypatch.setattr(
        results,
        "_recorded",
        lambda clients, name, key, bucket: ("runs/", StageResult(key, name, frozenset(made_from[name]))),
    )

    found = results.usable_results(lambda service: None, order.stages, keys, ("dataset",), "out")
    assert list(found) == ["train", "compress"]  # this export was made from another dataset
