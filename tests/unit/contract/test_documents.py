"""The JSON documents: written and read back alike, tolerant of unknown fields, clear about every wrong one."""

import dataclasses
import json
import types
import typing
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from splatworks.contract.documents.codec import INSTALL, PUSH_THE_IMAGE, DocumentError, NewerDocumentError, to_bytes
from splatworks.contract.documents.job import ENDED, JobReport, read_job, write_job
from splatworks.contract.documents.progress import ProgressDocument, progress_json, read_progress
from splatworks.contract.documents.request import JobRequest, RequestDocument, read_request, write_request
from splatworks.contract.documents.result import ResultDocument, read_result, result_json
from splatworks.contract.documents.run import RunDocument, RunStage, read_run, write_run
from splatworks.contract.documents.scenes import SceneEntry, read_scenes, scenes_json
from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import Failure

WHERE = "s3://bucket/key.json"
Read = Callable[[bytes | str, str, str], Any]

STRICT: dict[str, tuple[Read, dict[str, Any]]] = {
    "request.json": (
        read_request,
        {"version": 1, "message": {}, "job": {"script_key": "jobs/a.py", "checkpoint_prefix": "checkpoints/a/"}},
    ),
    "run.json": (
        read_run,
        {
            "version": 1,
            "run_id": "harbour-0123456789ab",
            "project": "demo",
            "message": {},
            "submitted_at": "2026-01-31T12:00:00Z",
            "stages": [{"stage": "sfm", "job_name": "harbour-0123456789ab-sfm", "queue": "arn"}],
        },
    ),
}
LENIENT: dict[str, tuple[Read, dict[str, Any]]] = {
    "job.json": (read_job, {"version": 1, "ended": "done", "exit_code": 0}),
    "result.json": (read_result, {"version": 1, "status": "done", "metrics": {"psnr": 27}}),
    "progress.json": (read_progress, {"version": 1, "fraction": 0.5}),
}
ALL = STRICT | LENIENT

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(-1e299, 1e299)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    if hint is Any:
        return anything
    if isinstance(hint, types.UnionType):
        return st.one_of([st.none() if part is type(None) else of_type(part) for part in typing.get_args(hint)])
    origin, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is tuple:
        return st.lists(of_type(parts[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(text, anything, max_size=3)
    if origin is Failure:
        return st.builds(Failure, code=text, cause=text, fix=text, retryable=st.booleans())
    if dataclasses.is_dataclass(origin):
        return documents(typing.cast(type, origin))
    return {str: text, int: st.integers(), float: numbers, bool: st.booleans()}[origin]


def documents(kind: type, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{name: of_type(hint) for name, hint in hints.items()} | fixed)


layouts = st.sampled_from(["flat", "by_name"])
NONE, EMPTY = st.none(), st.just(())
pipeline_jobs = documents(JobRequest, input_layout=layouts, input_by_index=EMPTY, run_key=text)
single_jobs = documents(  # a batch_job has none of a pipeline's fields
    JobRequest,
    input_layout=layouts,
    input_by_index=EMPTY,
    fresh=st.just(False),
    **dict.fromkeys(
        ["variants", "run_key", "scenes_key", "carried_scenes_key", "content_base", "content_key", "script_digest"],
        NONE,
    ),
)
job_requests = pipeline_jobs | single_jobs
QUICK = settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.generate))  # shrinking takes minutes
times = st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20))
run_stages = documents(RunStage, job=st.none() | job_requests)


@QUICK
@given(documents(RequestDocument, job=job_requests))
def test_a_request_is_read_as_it_was_written(request_document: RequestDocument) -> None:
    assert read_request(write_request(request_document), WHERE, "") == request_document


@QUICK
@given(documents(RunDocument, submitted_at=times, stages=st.lists(run_stages, min_size=1, max_size=3).map(tuple)))
def test_a_run_is_read_as_it_was_written(run: RunDocument) -> None:
    assert read_run(write_run(run), WHERE, "") == run


@QUICK
@given(documents(JobReport))
def test_a_job_report_is_read_as_it_was_written(report: JobReport) -> None:
    assert read_job(write_job(report), WHERE, "") == report


@QUICK
@given(documents(ResultDocument), documents(ProgressDocument))
def test_result_and_progress_are_read_as_they_were_written(result: ResultDocument, progress: ProgressDocument) -> None:
    assert read_result(to_bytes(result_json(result)), WHERE, "") == result
    assert read_progress(to_bytes(progress_json(progress)), WHERE, "") == progress


@QUICK
@given(st.lists(documents(SceneEntry, input=st.lists(text, min_size=1, max_size=3).map(tuple)), max_size=4))
def test_scenes_are_read_as_they_were_written(scenes: list[SceneEntry]) -> None:
    assert read_scenes(json.dumps(scenes_json(scenes)), WHERE) == scenes


@pytest.mark.parametrize("name", ALL)
def test_unknown_fields_are_ignored(name: str) -> None:
    read, document = ALL[name]
    more = document | {"of_a_later_program": [1, {"a": None}]}
    assert read(json.dumps(more), WHERE, "") == read(json.dumps(document), WHERE, "")


@pytest.mark.parametrize("name", ALL)
def test_a_newer_version_ends_with_exit_code_2_and_says_what_to_do(name: str) -> None:
    read, document = ALL[name]
    for version in (2, 10**300):
        with pytest.raises(NewerDocumentError) as refused:
            read(json.dumps(document | {"version": version}), WHERE, PUSH_THE_IMAGE)
        assert refused.value.exit_code == ExitCode.INPUT_ERROR
        assert (refused.value.fix, refused.value.ended) == (PUSH_THE_IMAGE, "input_error")
        assert str(version) in refused.value.cause and "version 1" in refused.value.cause
        assert refused.value.cause.startswith(WHERE)


@pytest.mark.parametrize("name", ALL)
def test_the_version_before_and_a_document_without_one_are_read(name: str) -> None:
    read, document = ALL[name]
    without = {field: value for field, value in document.items() if field != "version"}
    assert read(json.dumps(without), WHERE, "") == read(json.dumps(document | {"version": 0}), WHERE, "")


@pytest.mark.parametrize("version", [True, False, "1", -1, 1.0, None, [1], {}])
@pytest.mark.parametrize("name", ALL)
def test_a_version_that_is_not_a_whole_number_is_refused(name: str, version: Any) -> None:
    read, document = ALL[name]
    with pytest.raises(DocumentError, match="version") as refused:
        read(json.dumps(document | {"version": version}), WHERE, INSTALL)
    assert not isinstance(refused.value, NewerDocumentError)
    assert repr(version) in refused.value.cause


HUGE = '{"a": ' + "9" * 5000 + "}"
DEEP = "[" * 100_000


@pytest.mark.parametrize("content", ["", "{", "nonsense", DEEP, HUGE, b"\xff\xfe\x00", '{"a": "'])
@pytest.mark.parametrize("name", ALL)
def test_a_text_that_is_not_json_is_refused(name: str, content: str | bytes) -> None:
    with pytest.raises(DocumentError, match="is not JSON") as refused:
        ALL[name][0](content, WHERE, "")
    assert refused.value.cause.startswith(WHERE) and refused.value.fix


@pytest.mark.parametrize("content", ["[]", "7", "null", '"text"', "true"])
@pytest.mark.parametrize("name", ALL)
def test_json_that_is_not_an_object_is_refused(name: str, content: str) -> None:
    with pytest.raises(DocumentError, match="not a JSON object"):
        ALL[name][0](content, WHERE, "")


WRONG: dict[Any, Any] = {str: 7, int: "7", float: "0.5", bool: 1, dict: [], tuple: {}}


def wrong_fields(kind: type, base: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """A document for each field that has a value of the wrong type there."""
    found = []
    for name, hint in typing.get_type_hints(kind).items():
        if isinstance(hint, types.UnionType):
            (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
        origin = typing.get_origin(hint) or hint
        value = "text" if dataclasses.is_dataclass(origin) else WRONG[origin]
        found.append((base | {name: value}, name))
    return found


REQUEST, RUN = STRICT["request.json"][1], STRICT["run.json"][1]
WRONG_TYPES = [
    *[(read_request, document, name) for document, name in wrong_fields(RequestDocument, REQUEST)],
    *[(read_request, REQUEST | {"job": job}, name) for job, name in wrong_fields(JobRequest, REQUEST["job"])],
    *[(read_run, document, name) for document, name in wrong_fields(RunDocument, RUN)],
    *[(read_run, RUN | {"stages": [stage]}, name) for stage, name in wrong_fields(RunStage, RUN["stages"][0])],
]


@pytest.mark.parametrize(("read", "document", "name"), WRONG_TYPES, ids=[name for _, _, name in WRONG_TYPES])
def test_a_value_of_the_wrong_type_names_its_field(read: Read, document: dict[str, Any], name: str) -> None:
    with pytest.raises(DocumentError) as refused:
        read(json.dumps(document), WHERE, "")
    assert name in refused.value.cause and refused.value.cause.startswith(WHERE)


MISSING = [(read, document, name) for read, document in STRICT.values() for name in document if name != "version"]


@pytest.mark.parametrize(("read", "document", "name"), MISSING, ids=[name for _, _, name in MISSING])
def test_a_missing_field_is_named(read: Read, document: dict[str, Any], name: str) -> None:
    rest = {field: value for field, value in document.items() if field != name}
    with pytest.raises(DocumentError, match=f"has no {name}"):
        read(json.dumps(rest), WHERE, "")


@pytest.mark.parametrize(
    ("read", "change", "told"),
    [
        (read_request, {"job": REQUEST["job"] | {"input_layout": "deep"}}, "'deep'"),
        (read_request, {"job": REQUEST["job"] | {"input": ["s3://a/b"], "input_by_index": [True, False]}}, "2 entries"),
        (read_request, {"job": REQUEST["job"] | {"input": ["s3://a/b", 7]}}, r"input\[1\]"),
        (read_run, {"stages": []}, "no stages"),
        (read_run, {"submitted_at": "yesterday"}, "'yesterday', not a time"),
    ],
)
def test_values_that_contradict_are_refused(read: Read, change: dict[str, Any], told: str) -> None:
    document = (REQUEST if read is read_request else RUN) | change
    with pytest.raises(DocumentError, match=told):
        read(json.dumps(document), WHERE, "")


def test_a_field_of_the_wrong_type_in_a_report_or_result_is_its_default() -> None:
    report = read_job('{"version": 1, "ended": "done", "exit_code": "0", "cost": [], "inputs": {}}', WHERE, "")
    assert (report.ended, report.exit_code, report.cost, report.inputs) == ("done", None, None, ())
    assert read_result('{"version": 1, "metrics": 7, "stage": "a"}', WHERE, "") == ResultDocument(stage="a")
    assert read_progress('{"version": 1, "fraction": "half"}', WHERE, "").fraction is None


def test_a_fraction_is_shown_within_its_bounds() -> None:
    assert [ProgressDocument(fraction=value).known_fraction for value in (None, -3, 0.25, 1e9)] == [None, 0, 0.25, 1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{}", "not a list"),
        ("[7]", "entry 0"),
        ('[{"name": "a", "input": ["s3://a/"]}, {"name": "b", "input": []}]', "entry 1"),
        ('[{"name": "a"}]', "has no input"),
        ('[{"name": 7, "input": ["s3://a/"]}]', "name"),
        (DEEP, "is not JSON"),
    ],
)
def test_scenes_that_cannot_be_read_are_named(content: str, told: str) -> None:
    with pytest.raises(DocumentError, match=told):
        read_scenes(content, WHERE)


def test_every_way_to_end_is_explained() -> None:
    assert {
        "done",
        "failed",
        "input_error",
        "interrupted",
        "out_of_memory",
        "cost_limit",
        "runner_error",
        "running",
    } == (set(ENDED))


@pytest.mark.parametrize("long", [{"job": "x" * 10_000_000}, {"version": 10**400}], ids=["job", "version"])
def test_an_error_does_not_repeat_a_long_value(long: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as refused:
        read_request(json.dumps({"message": {}, **long}), "request.json", PUSH_THE_IMAGE)
    assert len(refused.value.cause) < 600


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "1e308", "9" * 400, "-" + "9" * 400])
def test_a_number_that_no_sum_takes_is_no_number(odd: str) -> None:
    report = read_job(f'{{"attempt": {odd}, "cost": {{"usd": {odd}}}, "seconds": {{"total": {odd}}}}}', "job.json", "")
    assert (report.attempt, report.cost, report.seconds.total) == (0, None, None)
    progress = read_progress(f'{{"fraction": {odd}, "done": {odd}}}', "progress.json", "")
    assert (progress.known_fraction, progress.done) == (None, 0)
    with pytest.raises(DocumentError, match="has max_cost_usd"):
        request = f'{{"message": {{}}, "job": {{"script_key": "", "checkpoint_prefix": "", "max_cost_usd": {odd}}}}}'
        read_request(request, "request.json", "")
