"""trigger_type splat_pipeline: photos to a scene, as a chain of jobs (or of arrays of them)."""

import json
from typing import Any

from botocore.exceptions import ClientError

from aws.clients import client
from aws.documents import store, store_first
from splatworks.contract.documents.codec import APPLY
from splatworks.contract.documents.run import RunDocument, read_run, write_run
from splatworks.contract.documents.scenes import write_scenes
from splatworks.contract.events import RUN_KEY_FIELD, RUN_SETTLED
from splatworks.lookup.decision import decide
from splatworks.lookup.documents import read_object
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import PipelineOrder, order_pipeline
from triggers.base import BaseTrigger
from triggers.batch_job import other_body
from triggers.chain import submit_chain, submitted_before


class SplatPipelineTrigger(BaseTrigger):
    """run.json is the commitment: before it exists nothing is submitted, and afterwards every try follows it."""

    def execute(self, request: Request) -> dict[str, Any]:
        order = order_pipeline(request, self.settings)
        run, is_new = self._recorded(order.run_key), False
        if run is None:
            run, is_new = self._commit(request, order)
        if run.message != request.published:
            raise other_body(request)
        jobs = submit_chain(run, {} if is_new else submitted_before(run), self.settings.output_bucket)
        if not jobs:
            self._settle(run)
        return {
            "run_id": run.run_id,
            "jobs": jobs,
            "reused": {stage.stage: stage.reused_from for stage in run.stages if stage.reused_from},
            "output": f"s3://{self.settings.output_bucket}/{order.folder}",
        }

    def _commit(self, request: Request, order: PipelineOrder) -> tuple[RunDocument, bool]:
        """The run as it is recorded, and whether by this call: of two calls at once the first to write it decides."""
        bucket = self.settings.output_bucket
        decision = decide(client, request, order, self.settings)
        if decision.run.scenes.key:
            store(bucket, decision.run.scenes.key, write_scenes(decision.scenes))
        if store_first(bucket, order.run_key, write_run(decision.run)):
            return decision.run, True
        return self._recorded(order.run_key) or decision.run, False

    def _recorded(self, key: str) -> RunDocument | None:
        """Raises DocumentError if it cannot be read: the message goes to the dead-letter queue with the reason."""
        content = read_object(client, self.settings.output_bucket, key)
        return None if content is None else read_run(content, key, APPLY)

    def _settle(self, run: RunDocument) -> None:
        """Send the event that the monitor gets otherwise when a run's last job ends: this run has no job."""
        entry = {
            "Source": self.settings.project_name,
            "DetailType": RUN_SETTLED,
            "Detail": json.dumps({RUN_KEY_FIELD: run.key}),
        }
        (answer,) = client("events").put_events(Entries=[entry])["Entries"]
        if "ErrorCode" in answer:
            error = {"Code": answer["ErrorCode"], "Message": answer.get("ErrorMessage", "")}
            raise ClientError({"Error": error}, "PutEvents")
