"""splatworks plan: the dispatcher's own decisions, times from earlier runs, prices from EC2; nothing is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

Splatworks = Callable[..., Any]

EARLIER = "runs/coast/old-0123456789ab/sfm/"


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What EC2 would tell about spot prices; moto makes them up."""
    found: list[dict[str, Any]] = []
    from splatworks.cli import platform

    class EC2:
        def get_paginator(self, name: str) -> "EC2":
            assert name == "describe_spot_price_history"
            return self

        def paginate(self, *, InstanceTypes: list[str], **_: Any) -> Any:  # noqa: N803
            yield {"SpotPriceHistory": [entry for entry in found if entry["InstanceType"] in InstanceTypes]}

    original = platform.Platform.client
    ec2 = EC2()
    monkeypatch.setattr(platform.Platform, "client", lambda self, name: ec2 if name == "ec2" else original(self, name))
    return found


@pytest.fixture
def scene(deployed: Any, prices: Any) -> str:
    deployed.put("photos/harbour/1.jpg", b"x", "demo-input")
    return "photos/harbour/"


def test_a_plan_names_stages_machines_and_limits_and_changes_nothing(
    deployed: Any, splatworks: Splatworks, scene: str
) -> None:
    before = [deployed.keys(bucket) for bucket in ("demo-input", "demo-output")]
    ended = splatworks("plan", scene, "--job", "train.vcpus=8", "--json")
    assert ended.code == 0, ended.err
    stages = {stage["stage"]: stage for stage in ended.json["stages"]}
    assert list(stages) == ["sfm", "train", "compress"]
    assert [stage["timeout_seconds"] for stage in stages.values()] == [7200, 21600, 3600]
    assert [stage["compute_type"] for stage in stages.values()] == ["cpu", "gpu", "cpu"]
    assert stages["sfm"]["instances"] == ["cpu.large", "cpu.huge"]
    assert stages["train"]["instances"] == ["gpu.huge"]
    assert stages["train"]["estimate"] == {"seconds": None, "usd_per_hour": None, "usd": None}
    assert [deployed.keys(bucket) for bucket in ("demo-input", "demo-output")] == before
    assert deployed.messages() == []


def test_unknown_times_and_prices_are_told_as_unknown(deployed: Any, splatworks: Splatworks, scene: str) -> None:
    ended = splatworks("plan", scene)
    assert "unknown, at most 2 h 0 min an attempt" in ended.out
    assert "In all:   unknown" in ended.out
    assert "Nothing was submitted." in ended.out


def add_earlier(deployed: Any, name: str, seconds: float, parameters: dict[str, Any], **report: Any) -> None:
    prefix = f"runs/coast/{name}/sfm/"
    deployed.batch.add(f"{name}-sfm", "SUCCEEDED", prefix=prefix, stage="sfm")
    facts = {"ended": "done", "script": {"key": "stages/sfm.py"}, "parameters": parameters}
    deployed.put(f"{prefix}job.json", {**facts, "seconds": {"total": seconds}, **report})


def test_the_time_is_the_median_of_earlier_runs_with_the_same_parameters(
    deployed: Any, splatworks: Splatworks, scene: str
) -> None:
    for number, seconds in enumerate((100, 300, 120)):
        add_earlier(deployed, f"a-00000000000{number}", seconds, {"quality": "fast"})
    add_earlier(deployed, "b-000000000000", 9000, {"quality": "high"})
    add_earlier(deployed, "c-000000000000", 1, {"quality": "fast"}, reused_from="runs/x/y/sfm/")
    add_earlier(deployed, "d-000000000000", 1, {"quality": "fast"}, ended="failed")
    same = splatworks("plan", scene, "--set", "sfm.quality=fast", "--json").json["stages"][0]["estimate"]["seconds"]
    assert same == {"seconds": 120, "runs": 3, "same_options": True}
    other = splatworks("plan", scene, "--json").json["stages"][0]["estimate"]["seconds"]
    assert other == {"seconds": 210, "runs": 4, "same_options": False}
    assert "3 min 30 s (median of 4 runs with other parameters)" in splatworks("plan", scene).out


def test_the_cost_is_a_range_over_the_machines_that_hold_the_job(
    deployed: Any, splatworks: Splatworks, scene: str, prices: list[dict[str, Any]]
) -> None:
    prices += [
        {"InstanceType": "cpu.large", "SpotPrice": "0.10"},
        {"InstanceType": "cpu.huge", "SpotPrice": "0.40"},
        {"InstanceType": "gpu.huge", "SpotPrice": "9.00"},
    ]
    add_earlier(deployed, "a-000000000000", 1800, {})
    sfm, train, _ = splatworks("plan", scene, "--json").json["stages"]
    assert sfm["estimate"]["usd_per_hour"] == {"lowest": 0.1, "highest": 0.4}
    assert sfm["estimate"]["usd"] == {"lowest": pytest.approx(0.05), "highest": pytest.approx(0.2)}
    assert train["estimate"]["usd"] is None
    deployed.put("photos/pier/1.jpg", b"x", "demo-input")
    of_two_scenes = splatworks("plan", "photos/", "--several", "--json").json["stages"][0]["estimate"]["usd"]
    assert of_two_scenes == {"lowest": pytest.approx(0.1), "highest": pytest.approx(0.4)}
    told = splatworks("plan", scene).out
    assert "0.05 to 0.20 USD" in told
    assert "unknown, at 9.00 USD an hour" in told
    assert "In all:   unknown" in told


def test_a_sweep_counts_every_variant(deployed: Any, splatworks: Splatworks, scene: str) -> None:
    ended = splatworks("plan", scene, "--sweep", "train.cap_max=100,200,300", "--json")
    assert [stage["size"] for stage in ended.json["stages"]] == [1, 3, 3]


def test_several_scenes_are_counted_and_no_list_is_written(deployed: Any, splatworks: Splatworks, scene: str) -> None:
    deployed.put("photos/pier/1.jpg", b"x", "demo-input")
    ended = splatworks("plan", "photos/", "--several", "--json")
    assert [stage["size"] for stage in ended.json["stages"]] == [2, 2, 2]
    assert deployed.keys("demo-output") == []


@pytest.mark.parametrize("put", ["all", "none"])
def test_scenes_that_are_not_uploaded_yet_are_counted(
    deployed: Any, splatworks: Splatworks, prices: Any, tmp_path: Path, put: str
) -> None:
    batch = tmp_path / "batch"
    for name in ("a/1.jpg", "a/deep/2.jpg", "b.ZIP", "c.zip/1.jpg", "notes.txt", ".git/x", "empty/.hidden"):
        (batch / name).parent.mkdir(parents=True, exist_ok=True)
        (batch / name).write_text(name)
        if put == "all" and "/." not in f"/{name}":
            deployed.put(f"photos/batch/{name}", name.encode(), "demo-input")
    (batch / "linked").symlink_to(tmp_path / "batch2")
    (tmp_path / "batch2").mkdir()
    ended = splatworks("plan", batch, "--several", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["reuse_known"] == (put == "all")
    assert [stage["size"] for stage in ended.json["stages"]] == [3, 3, 3]


def test_the_entries_of_a_list_that_is_not_uploaded_yet_are_counted(
    deployed: Any, splatworks: Splatworks, scene: str, tmp_path: Path
) -> None:
    (tmp_path / "batch.json").write_text(json.dumps([scene, {"name": "again", "input": scene}]))
    ended = splatworks("plan", tmp_path / "batch.json", "--several", "--json")
    assert [stage["size"] for stage in ended.json["stages"]] == [2, 2, 2]


def test_a_result_that_is_there_is_not_run_again(deployed: Any, splatworks: Splatworks, scene: str) -> None:
    key = content_key_of_sfm(scene)
    deployed.put(f"{EARLIER}job.json", {"ended": "done", "content_key": key, "inputs": [], "output": {"files": 0}})
    deployed.put(f"{EARLIER}_SUCCESS", b"")  # last, as the runner does it: a result younger than that does not count
    deployed.put(f"reuse/{key}.json", {"output_prefix": EARLIER})
    stages = splatworks("plan", scene, "--json").json["stages"]
    assert [stage["reused_from"] for stage in stages] == [EARLIER, None, None]
    assert "its result is there" in splatworks("plan", scene).out
    fresh = splatworks("plan", scene, "--fresh", "--json").json["stages"]
    assert [stage["reused_from"] for stage in fresh] == [None, None, None]


def content_key_of_sfm(scene: str) -> str:
    """As the dispatcher makes it."""
    from splatworks.cli.messages import as_request
    from splatworks.cli.platform import find_platform
    from splatworks.lookup.sources import read_sources
    from splatworks.planning.pipeline_order import order_pipeline
    from splatworks.planning.pipeline_plan import content_bases, content_keys_of

    platform = find_platform("demo")
    settings = platform.settings
    order = order_pipeline(as_request({"trigger_type": "splat_pipeline", "data": {"input": scene}}), settings)
    sources = read_sources(platform.client, order, settings)
    return content_keys_of(order, content_bases(order, sources), sources.inputs)["sfm"]


def test_photos_that_are_not_uploaded_yet_are_planned_with_what_has_to_be_uploaded(
    deployed: Any, splatworks: Splatworks, prices: Any, photos: Path
) -> None:
    ended = splatworks("plan", photos)
    assert ended.code == 0, ended.err
    assert "Upload:   0.0 MB; results of earlier runs are looked for once it is there" in ended.out
    assert not [key for key in deployed.keys("demo-input") if key.startswith("photos/")]
    for name in ("1.jpg", "2.jpg", "sub/3.jpg"):
        deployed.put(f"photos/My-Harbour/{name}", (photos / name).read_bytes(), "demo-input")
    assert "Upload:" not in splatworks("plan", photos).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["photos/nothing/"], "Nothing is there"),
        (["photos/harbour/", "--job", "train.memory=999999"], "data.train.memory"),
        (["s3://somebody-elses/photos/"], "the buckets demo-input"),
        (["photos/harbour/", "--steps", "compress", "--set", "sfm.quality=fast"], "data.sfm"),
    ],
)
def test_what_the_dispatcher_would_refuse_is_refused_in_its_words(
    deployed: Any, splatworks: Splatworks, scene: str, arguments: list[str], told: str
) -> None:
    ended = splatworks("plan", *arguments)
    assert ended.code == 2
    assert told in ended.err
    assert "To do:" in ended.err


@pytest.mark.parametrize("command", ["plan", "submit"])
def test_a_queue_that_the_platform_does_not_have_is_refused_before_anything_is_uploaded(
    deployed: Any, splatworks: Splatworks, prices: Any, photos: Path, command: str
) -> None:
    ended = splatworks(command, photos, "--job", "sfm.spot=false")
    assert ended.code == 2
    assert "data.sfm.spot" in ended.err
    assert "this platform has no on-demand queue for cpu" in ended.err
    assert not [key for key in deployed.keys("demo-input") if key.startswith("photos/")]


def test_a_message_that_is_written_already_is_planned(
    deployed: Any, splatworks: Splatworks, scene: str, tmp_path: Path
) -> None:
    deployed.put("jobs/count.py", b"x", "demo-input")
    file = tmp_path / "message.json"
    data = {"script_key": "jobs/count.py", "compute_type": "cpu", "timeout_seconds": 600, "array_size": 4}
    file.write_text(json.dumps({"trigger_type": "batch_job", "data": data}))
    (stage,) = splatworks("plan", "--file", file, "--json").json["stages"]
    assert (stage["stage"], stage["timeout_seconds"], stage["size"]) == ("count", 600, 4)
    for text, told in (("{", "one JSON object"), ('{"trigger_type": "nope", "data": {}}', "splat_pipeline")):
        file.write_text(text)
        ended = splatworks("plan", "--file", file)
        assert ended.code == 2
        assert told in ended.err
    file.write_bytes(b"\xff\xfe")
    assert "UTF-8" in splatworks("plan", "--file", file).err
    assert splatworks("plan", "--file", tmp_path / "none.json").code == 2
    assert "--file can't be combined with INPUT" in splatworks("plan", scene, "--file", file).err


def test_options_beside_a_written_message_are_refused_and_not_ignored(
    deployed: Any, splatworks: Splatworks, scene: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPLATWORKS_USER", "ann")  # of the shell, and of no message in particular
    file = tmp_path / "message.json"
    file.write_text(json.dumps({"trigger_type": "splat_pipeline", "data": {"input": scene}}))
    assert splatworks("plan", "--file", file, "--project", "demo", "--json").code == 0
    options = ["--preset", "high", "--max-cost", "0", "--set", "train.seed=1", "--fresh", "--user", "ann"]
    ended = splatworks("plan", "--file", file, *options)
    assert (ended.code, ended.out) == (2, "")
    assert "--file can't be combined with --preset, --fresh, --set, --max-cost, --user." in ended.err


@pytest.mark.parametrize(
    ("options", "data"),
    [
        (["--set", "train.cap_mx=1"], {"train": {"parameters": {"cap_mx": 1}}}),
        (["--set", "sfm.quality=best"], {"sfm": {"parameters": {"quality": "best"}}}),
        (["--sweep", "train.cap_max=1,two"], {"sweep": {"train": {"cap_max": [1, "two"]}}}),
        (
            ["--steps", "train", "--set", "sfm.quality=high"],
            {"steps": "train", "sfm": {"parameters": {"quality": "high"}}},
        ),
    ],
)
def test_message_refuses_in_the_words_of_the_dispatcher(
    deployed: Any, splatworks: Splatworks, scene: str, tmp_path: Path, options: list[str], data: dict[str, Any]
) -> None:
    file = tmp_path / "message.json"
    file.write_text(json.dumps({"trigger_type": "splat_pipeline", "data": {"input": scene, **data}}))
    ended = splatworks("message", scene, *options)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == splatworks("plan", "--file", file).err


def test_an_input_bucket_without_the_stages_is_told(deployed: Any, splatworks: Splatworks, scene: str) -> None:
    boto3.client("s3", "us-east-1").delete_object(Bucket="demo-input", Key="stages/train.py")
    assert "stages/train.py" in splatworks("plan", scene).err
