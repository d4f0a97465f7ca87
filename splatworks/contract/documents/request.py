"""request.json: what the dispatcher asks of one job, read by the runner and the monitor."""

from dataclasses import dataclass, field
from typing import Any

from splatworks.contract.documents.codec import DocumentError, from_json, parse, to_bytes, to_json

VERSION = 1
LAYOUTS = ("flat", "by_name")


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """The `job` of request.json. In an array the runner adds the child's index to both prefixes."""

    script_key: str
    checkpoint_prefix: str
    output_prefix: str = ""
    run_id: str = ""
    stage: str = ""
    project: str = ""
    input: tuple[str, ...] = ()  # absolute URIs
    input_layout: str = "flat"  # flat: contents land in INPUT_DIR; by_name: each in a folder of its last part
    args: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)  # scalars
    operation: str | None = None
    max_cost_usd: float | None = None  # of the run, or of one index in an array
    run_key: str | None = None  # key of run.json; None for a batch_job
    scenes_key: str | None = None  # key of scenes.json: child i reads entry i instead of `input`
    carried_scenes_key: str | None = None  # the same, read in addition to `input`
    input_by_index: tuple[bool, ...] = ()  # per input: whether "<index>/" is added to it
    variants: tuple[dict[str, Any], ...] = ()  # child i runs with `parameters` updated by entry i
    content_base: str | None = None  # None: the result is not reused
    content_key: str | None = None  # None for arrays: each child makes its own
    script_digest: str | None = None
    fresh: bool = False  # run even if a result of the same key is there


@dataclass(frozen=True, kw_only=True)
class RequestDocument:
    request_id: str
    message: dict[str, Any]  # as it was published
    job: JobRequest
    submitted_at: str


def read_request(text: bytes | str, where: str, if_newer: str) -> RequestDocument:
    """Raises DocumentError; `where` names the object in it, `if_newer` says what to do about a later version."""
    document = parse(text, where, VERSION, if_newer)
    request = from_json(RequestDocument, {"request_id": "", "submitted_at": "", **document}, where)
    job = request.job
    if job.input_layout not in LAYOUTS:
        raise DocumentError(where, f"has input_layout {job.input_layout!r}; it is flat or by_name")
    if job.input_by_index and len(job.input_by_index) != len(job.input):
        counts = f"{len(job.input_by_index)} entries in `input_by_index` for {len(job.input)} in `input`"
        raise DocumentError(where, f"has {counts}")
    return request


def write_request(request: RequestDocument) -> bytes:
    return to_bytes(to_json(request, VERSION))
