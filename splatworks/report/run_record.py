"""run.json, typed: what the dispatcher decided about a run before it submitted the first job."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunStage:
    name: str
    job_name: str
    queue: str
    size: int  # 1, or that of the array
    output_prefix: str  # where its results lie: the earlier run's where they are used again
    variants: tuple[dict[str, Any], ...]  # parameters by index, of a sweep
    reused_from: str | None
    inputs: tuple[str, ...]  # as it read them
    input_layout: str  # flat: one location was given, by_name: a list

    @property
    def is_array(self) -> bool:
        return self.size > 1


@dataclass(frozen=True, kw_only=True)
class Run:
    id: str
    key: str
    message: dict[str, Any]  # as it was published
    submitted_at: float  # seconds since 1970
    scene_count: int
    scenes_key: str | None
    stages: tuple[RunStage, ...]

    @property
    def folder(self) -> str:
        return self.key.rpartition("/")[0] + "/"

    @property
    def submitted(self) -> tuple[RunStage, ...]:
        """The stages that have a job."""
        return tuple(stage for stage in self.stages if not stage.reused_from)

    @property
    def label(self) -> str:
        """What people call it: the run's id without the hash."""
        return self.id.rpartition("-")[0]

    def stage_of(self, job_name: str) -> RunStage | None:
        return next((stage for stage in self.submitted if stage.job_name == job_name), None)


def run_from_json(key: str, document: dict[str, Any]) -> Run:
    return Run(
        id=document["run_id"],
        key=key,
        message=document["message"],
        submitted_at=datetime.fromisoformat(document["submitted_at"]).timestamp(),
        scene_count=document["scenes"]["count"],
        scenes_key=document["scenes"]["key"],
        stages=tuple(_stage(stage) for stage in document["stages"]),
    )


def _stage(document: dict[str, Any]) -> RunStage:
    job = document.get("job") or {}
    return RunStage(
        name=document["stage"],
        job_name=document["job_name"],
        queue=document["queue"],
        size=document["size"],
        output_prefix=document["reused_from"] or document["output_prefix"],
        variants=tuple(document["variants"] or ()),
        reused_from=document["reused_from"],
        inputs=tuple(job.get("input") or ()),
        input_layout=job.get("input_layout", "flat"),
    )


def ends_run(run: Run, stage: RunStage, *, failed: bool) -> bool:
    """Whether nothing more can come of the run when this stage's job has ended.

    A part of an array that fails stops its own scene or variant only, so that an array before the last does not end it.
    """
    return stage == run.submitted[-1] or (failed and not stage.is_array)
