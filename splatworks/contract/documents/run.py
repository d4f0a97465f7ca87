"""run.json: a whole run as the dispatcher decided it, written before the first submission and never changed."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from splatworks.contract.documents.codec import DocumentError, read, to_bytes, to_json
from splatworks.contract.documents.request import JobRequest
from splatworks.contract.keys import RUN, run_folder

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunStage:
    stage: str  # name of the stage
    job_name: str  # name of the Batch job, <run>-<stage>
    queue: str  # ARN of the job queue
    compute_type: str = ""  # gpu or cpu
    size: int = 1  # number of the array's children; 1 without an array
    output_prefix: str = ""  # prefix of its output
    variants: tuple[dict[str, Any], ...] | None = None  # parameters by index, of a sweep
    content_key: str | None = None  # of the result, if it was known at submission
    reused_from: str | None = None  # output prefix of the earlier run whose result is used
    job: JobRequest | None = None  # the `job` of the stage's request.json; null if reused
    submission: dict[str, Any] | None = None  # arguments of SubmitJob without dependsOn; null if reused

    @cached_property
    def is_array(self) -> bool:
        return self.size > 1

    @property
    def is_of_another_run(self) -> bool:
        """Whether an earlier run's result is used, which cost this run nothing; a resumed run keeps its own results."""
        return bool(self.reused_from) and self.reused_from != self.output_prefix

    @cached_property
    def place(self) -> str:
        """Prefix of its results: the earlier run's, if they are reused."""
        return self.reused_from or self.output_prefix


@dataclass(frozen=True, kw_only=True)
class Scenes:
    count: int = 1  # number of scenes
    key: str | None = None  # key of scenes.json if there are several scenes, else null


@dataclass(frozen=True, kw_only=True)
class RunDocument:
    run_id: str  # <label>-<12 hex digits>
    project: str  # metadata.project as it is in keys
    request_id: str = ""  # the identity of the request
    message: dict[str, Any]  # as it was published
    submitted_at: str  # UTC
    scenes: Scenes = field(default_factory=Scenes)  # the scenes of the run
    max_cost_usd: float | None = None  # limit of the run; in an array of each index
    resumed: int = 0  # number of the resumption that this document describes; 0 is the first submission
    stages: tuple[RunStage, ...]  # the stages of this run in their order

    @property
    def folder(self) -> str:
        return run_folder(self.project, self.run_id)

    @property
    def key(self) -> str:
        """Return the key of run.json, the same for each resumption."""
        return f"{self.folder}{RUN}"

    @property
    def label(self) -> str:
        """The name that its user gave or sees: the id without the hash."""
        return self.run_id.rpartition("-")[0]

    @cached_property
    def submitted(self) -> tuple[RunStage, ...]:
        """The stages that have a job."""
        return tuple([stage for stage in self.stages if not stage.reused_from])

    @cached_property
    def submitted_seconds(self) -> float:
        """Time of submission, seconds since 1970."""
        return datetime.fromisoformat(self.submitted_at).timestamp()

    def stage_of_job(self, job_name: str) -> RunStage | None:
        return next((stage for stage in self.submitted if stage.job_name == job_name), None)


def read_run(text: bytes | str, where: str, if_newer: str) -> RunDocument:
    """Raises DocumentError; `where` names the object in it, `if_newer` says what to do about a later version."""
    run = read(RunDocument, VERSION, text, where, if_newer)
    if not run.stages:
        raise DocumentError(where, "has no stages")
    try:
        run.submitted_seconds  # noqa: B018 (a bad time is refused here)
    except ValueError:
        raise DocumentError(where, f"has submitted_at {run.submitted_at[:80]!r}, not a time") from None
    return run


def write_run(run: RunDocument) -> bytes:
    document = to_json(run, VERSION)
    if not run.resumed:
        del document["resumed"]
    return to_bytes(document)
