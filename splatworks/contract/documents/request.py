"""request.json: what the dispatcher asks of one job, read by the runner and the monitor."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from splatworks.contract.documents.codec import DocumentError, read, to_bytes, to_json
from splatworks.contract.keys import REQUEST

VERSION = 1
FLAT, BY_NAME = "flat", "by_name"
LAYOUTS = (FLAT, BY_NAME)
CARRIED_FOLDER = "sfm"  # below INPUT_DIR: a scene that is read in addition to a stage's output
# Fields of a pipeline's jobs; request.json of a batch_job leaves them out.
PIPELINE_FIELDS = (
    "run_key",
    "scenes_key",
    "carried_scenes_key",
    "input_by_index",
    "variants",
    "content_base",
    "content_key",
    "script_digest",
    "fresh",
)


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """The `job` of request.json. In an array the runner adds the child's index to both prefixes."""

    script_key: str  # key of the script in the input bucket
    checkpoint_prefix: str  # prefix of the checkpoints; the runner adds <index>/ in an array
    output_prefix: str = ""  # prefix of the output; the runner adds <index>/ in an array
    run_id: str = ""  # the run; for a batch_job the job's name
    stage: str = ""  # the stage; for a batch_job the script's name without .py
    project: str = ""  # metadata.project as it is in keys
    input: tuple[str, ...] = ()  # absolute S3 URIs; one that ends in "/" is a folder
    # flat: contents are placed in INPUT_DIR itself; by_name: each folder in INPUT_DIR/<last part of its path>/, each
    # object as INPUT_DIR/<its name>
    input_layout: str = FLAT
    args: tuple[str, ...] = ()  # arguments of the script
    parameters: dict[str, Any] = field(default_factory=dict)  # texts, numbers and booleans by name
    operation: str | None = None  # a word for the script
    max_cost_usd: float | None = None  # limit of the run; in an array of the chain of this index
    run_key: str | None = None  # key of run.json; null for a batch_job
    scenes_key: str | None = None  # key of scenes.json: child i reads entry i instead of `input`, layout flat
    # key of scenes.json: child i reads entry i in addition to `input`, into INPUT_DIR/sfm/
    carried_scenes_key: str | None = None
    input_by_index: tuple[bool, ...] = ()  # per input: whether "<index>/" is added to it
    variants: tuple[dict[str, Any], ...] | None = None  # child i runs with `parameters` updated by entry i
    content_base: str | None = None  # digest that all children share; null: the result is not reused
    content_key: str | None = None  # as known at submission; null for arrays, where each child makes its own
    script_digest: str | None = None  # digest of the script's folder at submission; null: not compared
    # id of the job that this one continues; what its attempts have cost counts for max_cost_usd; null: none
    resumes_job: str | None = None
    fresh: bool = False  # run even if a result with the same key exists; the result is still recorded

    @cached_property
    def request_key(self) -> str:
        """Key of the request.json that holds this."""
        return f"{self.output_prefix}{REQUEST}"


@dataclass(frozen=True, kw_only=True)
class RequestDocument:
    request_id: str = ""  # the identity of the request
    message: dict[str, Any]  # as it was published
    job: JobRequest  # what the runner does
    submitted_at: str = ""  # UTC


def read_request(text: bytes | str, where: str, if_newer: str) -> RequestDocument:
    """Raises DocumentError; `where` names the object in it, `if_newer` says what to do about a later version."""
    request = read(RequestDocument, VERSION, text, where, if_newer)
    job = request.job
    if job.input_layout not in LAYOUTS:
        raise DocumentError(where, f"has input_layout {job.input_layout!r}; it is {' or '.join(LAYOUTS)}")
    if job.input_by_index and len(job.input_by_index) != len(job.input):
        counts = f"{len(job.input_by_index)} entries in `input_by_index` for {len(job.input)} in `input`"
        raise DocumentError(where, f"has {counts}")
    return request


def write_request(request: RequestDocument) -> bytes:
    document = to_json(request, VERSION)
    if request.job.run_key is None:
        for name in PIPELINE_FIELDS:
            del document["job"][name]
        if request.job.resumes_job is None:
            del document["job"]["resumes_job"]
    return to_bytes(document)
