"""Each way in which a splat_pipeline message can be bad: nothing is submitted, and the e-mail names the field."""

import json
from typing import Any

import pytest
from lambda_platform import Platform

MANY = {f"p{i}": list(range(50)) for i in range(20)}
TWO_PLACES = ["photos/my-scene/", "photos/other/"]


def pipeline(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "splat_pipeline", "data": {"input": "photos/my-scene/", **data}}


def scenes(inputs: Any, **data: Any) -> dict[str, Any]:
    return {"trigger_type": "splat_pipeline", "data": {"inputs": inputs, **data}}


def train(**options: Any) -> dict[str, Any]:
    return pipeline(train=options)


REFUSED: list[tuple[dict[str, Any], str, str]] = [  # the message, the field named, words of the e-mail
    (pipeline(trian={}), "data.trian", "Did you mean train?"),
    (train(vcpu=4), "data.train.vcpu", "Did you mean vcpus?"),
    (train(vcpus="four"), "data.train.vcpus", "whole number"),
    (train(parameters={"cap_max": [100]}), "data.train.parameters.cap_max", "a number or a boolean"),
    (train(parameters={"a b": 1}), "data.train.parameters", "letters, digits and underscores"),
    (train(parameters={"seed": 1, "SEED": 2}), "data.train.parameters", "PARAM_SEED"),
    (train(compute_type="tpu"), "data.train.compute_type", "gpu or cpu"),
    (train(gpus=8), "data.train.gpus", "4 GPUs"),
    (train(compute_type="cpu", gpus=1), "data.train.gpus", "0 on compute_type cpu"),
    (train(memory=500_000), "data.train.memory", "g4dn.12xlarge"),
    (train(vcpus=8, memory=100_000, gpus=1, compute_type="cpu"), "data.train.gpus", "0 on compute_type cpu"),
    (train(spot=False), "data.train.spot", "no on-demand queue"),
    (train(timeout_seconds=1), "data.train.timeout_seconds", "from 60"),
    (train(attempts=0), "data.train.attempts", "from 1 to 10"),
    (train(parameters=[]), "data.train.parameters", "an object"),
    (pipeline(compress={"vcpus": 17, "memory": 30001}), "data.compress.vcpus, data.compress.memory", "c7i.4xlarge"),
    (pipeline(sfm={"vcpus": 2, "memory": 30001}), "data.sfm.memory", "c7i.4xlarge"),
    (pipeline(sfm=7), "data.sfm", "any of compute_type"),
    (pipeline(steps="sfm"), "data.steps", "full, train or compress: the stage to start with"),
    (pipeline(steps="train", sfm={}), "data.sfm", "train, compress"),
    (pipeline(steps="compress", train={}), "data.train", '"steps" is "compress"'),
    (pipeline(steps="compress", sweep={"train": {"a": [1, 2]}}), "data.sweep.train", '"steps" is "compress"'),
    (pipeline(preset="ultra"), "data.preset", "draft, standard or high"),
    (pipeline(fresh="yes"), "data.fresh", "true or false"),
    (pipeline(max_cost_usd=-1), "data.max_cost_usd", "above 0"),
    (pipeline(max_cost_usd=1, sfm={"spot": False}), "data.max_cost_usd", "data.sfm.spot is false"),
    (pipeline(job_name="a b"), "data.job_name", "letters, digits"),
    (pipeline(priority=10_000), "data.priority", "from 0 to 9999"),
    (pipeline(request_id=""), "data.request_id", "letters, digits"),
    (pipeline(inputs="photos/"), "data.input", "one of the two"),
    ({"trigger_type": "splat_pipeline", "data": {}}, "data.input", "neither input nor inputs"),
    (pipeline(input="photos/none/"), "data.input", "Nothing is there"),
    (pipeline(input="photos/my-scene/1"), "data.input", "Nothing is there"),
    (pipeline(input="photos/empty/"), "data.input", "Nothing is there"),
    (pipeline(input="photos/$(id)/"), "data.input", "my-photos/ 's3://demo-input/photos/$(id)/'"),
    (pipeline(input="s3://no-such-bucket/x/"), "data.input", "NoSuchBucket"),
    (pipeline(input="s3://somebody-elses/x/"), "data.input", "extra_input_buckets"),
    (pipeline(input="photos/../stages/"), "data.input", ".. part"),
    (pipeline(input=[]), "data.input", "1 to 20"),
    (pipeline(input=["photos/my-scene/", "s3://demo-models/my-scene"]), "data.input", "last names differ"),
    (pipeline(input=TWO_PLACES, steps="train"), "data.input", "at most 1 if the first stage is train"),
    (pipeline(input="photos/my-scene/train/", steps="train"), "data.input", "another name than train"),
    (scenes("photos/one/", steps="train"), "data.inputs", "another name than train"),
    (pipeline(input=[*TWO_PLACES, "x"], steps="compress"), "data.input", "at most 2"),
    (pipeline(sweep={}), "data.sweep", "2 to 50 variants"),
    (pipeline(sweep={"sfm": {"a": [1, 2]}}), "data.sweep.sfm", "train, compress"),
    (pipeline(sweep={"train": {"cap_max": 3}}), "data.sweep.train.cap_max", "a list of 1 to 50"),
    (pipeline(sweep={"train": {"cap_max": [1, 1]}}), "data.sweep.train.cap_max", "different values"),
    (pipeline(sweep={"train": {"cap_max": [1, None]}}), "data.sweep.train.cap_max[1]", "a number or a boolean"),
    (pipeline(sweep={"train": {"cap_max": [100]}}), "data.sweep", "1 variants"),
    (
        pipeline(sweep={"train": {"seed": [1, 2, 3]}, "compress": {"views": list(range(17))}}),
        "data.sweep",
        "51 variants",
    ),
    (pipeline(sweep={"train": {"cap_mx": [1, 2]}}), "data.sweep.train.cap_mx", "Did you mean cap_max?"),
    (pipeline(sweep={"train": {"seed": [1, "two"]}}), "data.sweep.train.seed", "a whole number"),
    (train(parameters={"cap_mx": 100}), "data.train.parameters.cap_mx", "Did you mean cap_max?"),
    (train(parameters={"quality": "fast"}), "data.train.parameters.quality", "write it as data.sfm.parameters.quality"),
    (train(parameters={"preset": "best"}), "data.train.parameters.preset", "draft, standard, high"),
    (train(parameters={"max_steps": 2.5}), "data.train.parameters.max_steps", "a whole number"),
    (train(parameters={"min_psnr": "inf"}), "data.train.parameters.min_psnr", "a number"),
    (train(parameters={"antialiased": "maybe"}), "data.train.parameters.antialiased", "true or false"),
    (pipeline(sfm={"parameters": {"input_dir": "/"}}), "data.sfm.parameters.input_dir", "no parameter input_dir"),
    (pipeline(sweep={"train": MANY}), "data.sweep", "2 to 50"),
    (pipeline(sweep={"train": {"seed": [1, 2]}}, train={"parameters": {"SEED": 1}}), "data.train.parameters", "SEED"),
    (scenes("photos/batch/", sweep={"train": {"a": [1, 2]}}), "data.sweep", "one scene"),
    (scenes("photos/none/"), "data.inputs", "at least one scene"),
    (scenes("photos/my-scene/"), "data.inputs", "at least one scene"),
    (scenes("photos/hollow/"), "data.inputs", "s3://demo-input/photos/hollow/b/"),
    (scenes("photos/twins/"), "data.inputs", "different names"),
    (scenes("photos/odd/"), "data.inputs", "empty part"),
    (scenes("/photos/"), "data.inputs", "begins with a slash"),
    (scenes("s3://somebody-elses/x/"), "data.inputs", "extra_input_buckets"),
    (scenes("s3://no-such-bucket/x/"), "data.inputs", "NoSuchBucket"),
    (scenes(["photos/a/"]), "data.inputs", "several scenes"),
    (scenes("lists/none.json"), "data.inputs", "Nothing is there"),
    (scenes("s3://no-such-bucket/x.json"), "data.inputs", "NoSuchBucket"),
    (scenes("lists/object.json"), "data.inputs", "a JSON list"),
    (scenes("lists/empty.json"), "data.inputs", "at least one scene"),
    (scenes("lists/broken.json"), "data.inputs", "line 1 column 2"),
    (scenes("lists/latin.json"), "data.inputs", "UTF-8"),
    (scenes("lists/deep.json"), "data.inputs", "nested too deeply"),
    (scenes("lists/number.json"), "data.inputs[1]", "a location"),
    (scenes("lists/field.json"), "data.inputs[0].inptu", "Did you mean input?"),
    (scenes("lists/name.json"), "data.inputs[0].name", "text of 1 to 200 characters"),
    (scenes("lists/bucket.json"), "data.inputs[1]", "extra_input_buckets"),
    (scenes("lists/twice.json"), "data.inputs", "different names"),
    (scenes("lists/gone.json"), "data.inputs", "s3://demo-input/photos/gone/"),
    (scenes("lists/many.json"), "data.inputs", "at most 10000 scenes"),
]
LISTS: dict[str, Any] = {
    "object": {"input": "photos/my-scene/"},
    "empty": [],
    "broken": b"[",
    "latin": '["photos/Höhe/"]'.encode("latin-1"),
    "deep": b"[" * 60_000,
    "number": ["photos/my-scene/", 7],
    "field": [{"inptu": "photos/my-scene/"}],
    "name": [{"name": "a\nb", "input": "photos/my-scene/"}],
    "bucket": ["photos/my-scene/", "s3://somebody-elses/x/"],
    "twice": ["photos/my-scene/", "s3://demo-models/my-scene/"],
    "gone": ["photos/my-scene/", "photos/gone/"],
    "many": [f"photos/{i}/" for i in range(10_001)],
}
OBJECTS = ("hollow/a/1.jpg", "twins/a/1.jpg", "twins/a.zip", "odd//1.jpg", "other/1.jpg", "one/train/1.jpg")


@pytest.fixture(scope="module")
def stocked(shared_platform: Platform) -> Platform:
    for key in OBJECTS:
        shared_platform.put("demo-input", f"photos/{key}")
    for key in ("photos/empty/", "photos/hollow/b/"):
        shared_platform.put("demo-input", key, b"")
    for name, value in LISTS.items():
        shared_platform.put("demo-input", f"lists/{name}.json", value)
    return shared_platform


@pytest.mark.parametrize(
    ("published", "field", "words"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_bad_pipeline_is_refused_kept_and_explained(
    stocked: Platform, published: dict[str, Any], field: str, words: str
) -> None:
    import boto3

    answer = stocked.dispatch(published)

    assert "refused" in answer, answer
    assert stocked.submissions == []
    _, body = stocked.email()
    assert f"Field:    {field}\n" in body
    assert words in body
    assert all(line.split(":", 1)[1].strip() for line in body.splitlines()[2:6])
    (letter,) = stocked.dead_letters()
    assert json.loads(letter["Body"]) == published
    assert boto3.client("s3").list_objects_v2(Bucket="demo-output")["KeyCount"] == 0
