"""trigger_type splat_pipeline: photos to a scene, as a chain of jobs (or of arrays of them)."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from aws.clients import client
from aws.documents import store, store_first
from splatworks.lookup.decision import decide
from splatworks.lookup.documents import read_stored
from splatworks.planning.job_plan import request_document
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import PipelineOrder, order_pipeline
from triggers.base import BaseTrigger
from triggers.batch_job import find_job, other_body

SETTLED = "Pipeline Run Settled"


class SplatPipelineTrigger(BaseTrigger):
    """run.json is the commitment: before it is there nothing is submitted, and after it every try follows it."""

    def execute(self, request: Request) -> dict[str, Any]:
        order = order_pipeline(request, self.settings)
        run = read_stored(client, self.settings.output_bucket, order.run_key)
        ours = False
        if run is None:
            run, ours = self._commit(request, order)
        if run["message"] != request.published:
            raise other_body(request)
        jobs = self._submit(run, may_be_there=not ours)
        if not jobs:
            self._settle(order)
        return {
            "run_id": order.run_id,
            "jobs": jobs,
            "reused": {stage["stage"]: stage["reused_from"] for stage in run["stages"] if stage["reused_from"]},
            "output": f"s3://{self.settings.output_bucket}/{order.prefix}",
        }

    def _commit(self, request: Request, order: PipelineOrder) -> tuple[dict[str, Any], bool]:
        """run.json, and whether it is ours: with two at once the first to write it decides."""
        bucket = self.settings.output_bucket
        decision = decide(client, request, order, self.settings)
        if decision.scenes:
            store(bucket, decision.run["scenes"]["key"], [scene.as_json() for scene in decision.scenes])
        if store_first(bucket, order.run_key, decision.run):
            return decision.run, True
        return read_stored(client, bucket, order.run_key), False

    def _submit(self, run: dict[str, Any], *, may_be_there: bool) -> dict[str, str]:
        """The chain's job ids by stage."""
        stages = [stage for stage in run["stages"] if not stage["reused_from"]]
        batch = client("batch")
        there = _jobs_there(stages) if may_be_there else {}
        with ThreadPoolExecutor(len(stages) or 1) as pool:
            # Not of those that are there: what is younger than a stage's _SUCCESS makes its result unusable.
            written = [pool.submit(self._write_request, run, stage) for stage in stages if stage["stage"] not in there]
            for each in written:
                each.result()
        jobs: dict[str, str] = {}
        before: tuple[str, int] | None = None  # job id and size of the stage that the next one waits for
        for stage in stages:
            job_id = there.get(stage["stage"])
            if job_id is None:
                job_id = batch.submit_job(**stage["submission"], **_waiting_for(before))["jobId"]
            jobs[stage["stage"]] = job_id
            before = job_id, stage["size"]
        return jobs

    def _write_request(self, run: dict[str, Any], stage: dict[str, Any]) -> None:
        document = request_document(stage["job"], run["request_id"], run["message"], run["submitted_at"])
        store(self.settings.output_bucket, f"{stage['output_prefix']}request.json", document)

    def _settle(self, order: PipelineOrder) -> None:
        """No job will end and be reported: the monitor is told otherwise."""
        entry = {
            "Source": self.settings.project_name,
            "DetailType": SETTLED,
            "Detail": json.dumps({"run_key": order.run_key}),
        }
        (answer,) = client("events").put_events(Entries=[entry])["Entries"]
        if "ErrorCode" in answer:
            error = {"Code": answer["ErrorCode"], "Message": answer.get("ErrorMessage", "")}
            raise ClientError({"Error": error}, "PutEvents")


def _jobs_there(stages: list[dict[str, Any]]) -> dict[str, str]:
    """Job ids by stage, of those that a call before this one submitted."""
    found = {stage["stage"]: find_job(stage["queue"], stage["job_name"]) for stage in stages}
    return {stage: job_id for stage, job_id in found.items() if job_id}


def _waiting_for(before: tuple[str, int] | None) -> dict[str, Any]:
    """Where an array follows an array, a scene or variant waits for its own, not for all others."""
    if before is None:
        return {}
    job_id, size = before
    return {"dependsOn": [{"jobId": job_id, "type": "N_TO_N"} if size > 1 else {"jobId": job_id}]}
