"""Each way in which a message can be bad: nothing is submitted, the message is kept, the e-mail names the field."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lambda_platform import Platform

from splatworks.contract.message_schema import message_schema

JOB = "4c7599ae-0a82-49aa-ba5a-4727fcce14a8"


def batch_job(**data: Any) -> dict[str, Any]:
    return {"trigger_type": "batch_job", "data": {"script_key": "stages/train.py", **data}}


REFUSED: list[tuple[Any, str, str]] = [  # the message, the field named, words of the e-mail
    ("", "message", "one JSON object"),
    ("{'a': 1}", "message", "single quotes"),
    ("[]", "message", "trigger_type"),
    ('{"trigger_type": "batch_job", "trigger_type": "x"}', "trigger_type", "each name once"),
    ('{"a": NaN}', "message", "NaN"),
    ('{"a": 1e999}', "message", "1e999"),
    (f'{{"a": {"9" * 5000}}}', "message", "thousands of digits"),
    ("[" * 50_000, "message", "nested too deeply"),
    ('{"a": ' + "[" * 30 + "]" * 30 + "}", "message", "nested too deeply"),
    ('{"a": "\\ud800"}', "message", "surrogate"),
    ({"trigger_type": "batch_job"}, "data", "required"),
    ({"trigger_typ": "batch_job", "data": {}}, "trigger_typ", "Did you mean trigger_type?"),
    ({"trigger_type": "batch_jobs", "data": {}}, "trigger_type", "one of batch_job"),
    ({"trigger_type": "batch_job", "data": {}}, "data.script_key", "required"),
    ({"trigger_type": "batch_job", "data": []}, "data", "object"),
    (batch_job(vcpu=4), "data.vcpu", "Did you mean vcpus?"),
    (batch_job(vcpus="four"), "data.vcpus", '"four"'),
    (batch_job(vcpus=True), "data.vcpus", "whole number"),
    (batch_job(vcpus=2.5), "data.vcpus", "whole number"),
    (batch_job(vcpus=0), "data.vcpus", "at least 1"),
    (batch_job(memory=64), "data.memory", "at least 128"),
    (batch_job(compute_type="tpu"), "data.compute_type", "gpu (the default) or cpu"),
    (batch_job(vcpus=49), "data.vcpus", "g4dn.12xlarge (48 vCPUs, 188000 MiB, 4 GPUs)"),
    (batch_job(vcpus=10**300), "data.vcpus", "g4dn.12xlarge"),
    (batch_job(memory=500_000), "data.memory", "188000 MiB"),
    (batch_job(gpus=8), "data.gpus", "4 GPUs"),
    (batch_job(compute_type="cpu", vcpus=2, memory=31_000), "data.memory", "c7i.4xlarge"),
    (batch_job(gpus=0), "data.gpus", '"compute_type": "cpu"'),
    (batch_job(compute_type="cpu", gpus=1), "data.gpus", "0 on compute_type cpu"),
    (batch_job(spot=False), "data.spot", "no on-demand queue"),
    (batch_job(max_cost_usd=0), "data.max_cost_usd", "above 0"),
    (batch_job(compute_type="cpu", max_cost_usd=5, spot=False), "data.max_cost_usd", "data.spot is false"),
    (batch_job(script_key="../etc/passwd.py"), "data.script_key", ".. part"),
    (batch_job(script_key="jobs/../stages/train.py"), "data.script_key", ".. part"),
    (batch_job(script_key="/jobs/a.py"), "data.script_key", "begins with a slash"),
    (batch_job(script_key="jobs//a.py"), "data.script_key", "empty part"),
    (batch_job(script_key="jobs/a\n.py"), "data.script_key", "control characters"),
    (batch_job(script_key="photos/a.py"), "data.script_key", "folders that scripts run from"),
    (batch_job(script_key="jobs.py"), "data.script_key", "folders that scripts run from"),
    (batch_job(script_key="jobs/a.sh"), "data.script_key", "does not end in .py"),
    (batch_job(script_key="jobs/.py"), "data.script_key", "does not end in .py"),
    (batch_job(script_key="stages/trian.py"), "data.script_key", "Did you mean stages/train.py?"),
    (batch_job(script_key="jobs/" + "日" * 400 + ".py"), "data.script_key", "longer than 1024 bytes"),
    (batch_job(input="photos/none/"), "data.input", "Nothing is there"),
    (batch_job(input="photos/my-sce"), "data.input", "Nothing is there"),
    (batch_job(input="s3://somebody-elses/x/"), "data.input", "extra_input_buckets"),
    (batch_job(input="s3://no-such-bucket/x/"), "data.input", "NoSuchBucket"),
    (batch_job(input="https://example.org/x.zip"), "data.input", "only s3://"),
    (batch_job(input="s3://demo-input"), "data.input", "whole bucket"),
    (batch_job(input="s3://demo-input/"), "data.input", "whole bucket"),
    (batch_job(input="/"), "data.input", "whole bucket"),
    (batch_job(input="/photos/my-scene/"), "data.input", "begins with a slash"),
    (batch_job(input="photos/../stages/"), "data.input", ".. part"),
    (batch_job(input="photos/a\u0000b/"), "data.input", "control characters"),
    (batch_job(input=[]), "data.input", "1 to 20"),
    (batch_job(input=["photos/my-scene/", "s3://demo-models/my-scene"]), "data.input", "last names differ"),
    (batch_job(input=["photos/my-scene/", 7]), "data.input[1]", "S3 URI"),
    (batch_job(args=[200]), "data.args[0]", "numbers as strings"),
    (batch_job(args=["a\u0000b"]), "data.args[0]", "NUL"),
    (batch_job(args="--x"), "data.args", "list"),
    (batch_job(args=["x"] * 201), "data.args", "200"),
    (batch_job(args=["x" * 4097]), "data.args[0]", "4096"),
    (batch_job(parameters={"learning rate": 1}), "data.parameters", "letters, digits and underscores"),
    (batch_job(parameters={"a\n": 1}), "data.parameters", "letters, digits and underscores"),
    (batch_job(parameters={"a": [1]}), "data.parameters.a", "a string of at most"),
    (batch_job(parameters={"a": None}), "data.parameters.a", "a string of at most"),
    (batch_job(script_key="jobs/gpu_processing.py", parameters={"lr": 1, "LR": 2}), "data.parameters", "PARAM_LR"),
    (batch_job(operation="clean up"), "data.operation", "cleanup-cache"),
    (batch_job(timeout_seconds=59), "data.timeout_seconds", "from 60"),
    (batch_job(attempts=11), "data.attempts", "from 1 to 10"),
    (batch_job(priority=-1), "data.priority", "from 0 to 9999"),
    (batch_job(array_size=1), "data.array_size", "from 2 to 10000"),
    (batch_job(array_size=10_001), "data.array_size", "from 2 to 10000"),
    (batch_job(depends_on=["train-1"]), "data.depends_on[0]", "Batch job id"),
    (batch_job(depends_on=[JOB, JOB]), "data.depends_on", "different"),
    (batch_job(depends_on=[JOB]), "data.depends_on", "Batch forgets"),
    (batch_job(depends_on=[JOB] * 21), "data.depends_on", "at most 20"),
    (batch_job(job_name="-x"), "data.job_name", "letters, digits"),
    (batch_job(job_name="x" * 101), "data.job_name", "at most 100"),
    (batch_job(request_id="a b"), "data.request_id", "letters, digits"),
    ({**batch_job(), "metadata": {"projct": "x"}}, "metadata.projct", "Did you mean project?"),
    ({**batch_job(), "metadata": {"user": 7}}, "metadata.user", "text"),
    ({**batch_job(), "metadata": {"user": "x" * 257}}, "metadata.user", "256"),
]


@pytest.mark.parametrize(("published", "field", "words"), REFUSED, ids=[f"{i}-{r[1]}" for i, r in enumerate(REFUSED)])
def test_a_bad_message_is_refused_kept_and_explained(
    shared_platform: Platform, published: Any, field: str, words: str
) -> None:
    answer = shared_platform.dispatch(published)

    assert "refused" in answer
    assert shared_platform.submissions == []
    subject, body = shared_platform.email()
    assert subject == f"[demo] Message refused: {field}"
    assert f"Field:    {field}\n" in body
    assert words in body
    (letter,) = shared_platform.dead_letters()
    text = published if isinstance(published, str) else json.dumps(published)
    assert letter["Body"] == (text or '""')
    assert letter["MessageAttributes"]["field"]["StringValue"] == field
    assert len(letter["MessageAttributes"]["reason"]["StringValue"].encode()) <= 1024


SCHEMA = message_schema()
FIELDS = [*SCHEMA["definitions"]["batch_job"]["properties"], "x"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["stages/train.py", "gpu", JOB]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.fixed_dictionaries(
    {"trigger_type": st.just("batch_job") | VALUES},
    optional={
        "data": st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4) | VALUES,
        "metadata": st.dictionaries(st.sampled_from(["user", "project", "experiment", "x"]), VALUES) | VALUES,
        "extra": VALUES,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text() | MESSAGES.map(json.dumps) | MESSAGES.map(lambda message: json.dumps(message, ensure_ascii=False))
)
@example(text="\ud800")
@example(text='{"trigger_type": "batch_job", "data": {"script_key": "jobs/{x}.py"}}')
@example(text='{"trigger_type": "batch_job", "data": {"{variable}": 1, "parameters": {"{0}": 1}}}')
def test_whatever_is_published_is_accepted_or_refused_with_an_email(shared_platform: Platform, text: str) -> None:
    shared_platform.submissions.clear()
    shared_platform.emails(), shared_platform.dead_letters()

    answer = shared_platform.dispatch(text)

    if "refused" in answer:
        assert shared_platform.submissions == []
        subject, _ = shared_platform.email()
        assert len(subject) < 100
        assert subject.isascii()
        assert len(shared_platform.dead_letters()) == 1
    else:
        assert len(shared_platform.submissions) == 1
        assert shared_platform.emails() == []
