"""The objects in the buckets: which prefix holds what, and who writes it. The table of the docs is written from it."""

from dataclasses import dataclass
from typing import Literal

from splatworks.contract import keys


@dataclass(frozen=True, kw_only=True)
class Place:
    bucket: Literal["input", "output", "models"]
    prefix: str
    holds: str
    written_by: str


STAGE_FOLDER = "<project>/<run>/<stage>/[<index>/]"

PLACES = (
    Place(
        bucket="input",
        prefix=keys.STAGES_FOLDER,
        holds="the scripts of the stages, splatkit, and the contract",
        written_by="Terraform",
    ),
    Place(
        bucket="input",
        prefix="jobs/",
        holds="users' scripts, and `jobs/cleanup_processor.py`, which Terraform uploads",
        written_by="users",
    ),
    Place(bucket="input", prefix="examples/", holds="the example scripts", written_by="Terraform"),
    Place(
        bucket="input",
        prefix="photos/…",
        holds=f"photos; `{keys.READY}` and `{keys.OPTIONS}` for a run that an upload starts",
        written_by="users",
    ),
    Place(
        bucket="output",
        prefix=f"{keys.RUNS}{STAGE_FOLDER}",
        holds=f"`{keys.REQUEST}`, the output, `{keys.PROGRESS}`, `{keys.RESULT}`, `{keys.RUNNING}` while the job runs, "
        f"`{keys.JOB}`, and at the end `{keys.SUCCESS}`",
        written_by="dispatcher, runner",
    ),
    Place(
        bucket="output",
        prefix=f"{keys.RUNS}<project>/<run>/",
        holds=f"of a pipeline run `{keys.RUN}` and `{keys.SCENES}`, and `resume-<number>.json`, what "
        f"a resumption submitted; of a sweep `{keys.LEADERBOARD}`; "
        f"`{keys.FAILED_SCENES}`, the failed scenes as a manifest for `inputs`; `{keys.CONTINUE}`, a message that is "
        "too long for an e-mail",
        written_by="dispatcher, monitor",
    ),
    Place(
        bucket="output",
        prefix=keys.reuse_key("<content key>"),
        holds="the prefix of the result with this content key; expires with the runs",
        written_by="runner",
    ),
    Place(
        bucket="output",
        prefix=f"{keys.CHECKPOINTS}{STAGE_FOLDER}",
        holds="the mirrored checkpoint folder; a lifecycle rule deletes it",
        written_by="runner",
    ),
    Place(bucket="models", prefix="…", holds="pretrained weights, read-only for jobs", written_by="users"),
)
