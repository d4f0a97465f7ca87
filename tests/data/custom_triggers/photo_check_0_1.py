"""A trigger of your own: `{"trigger_type": "photo_check", "data": {"folder": "photos/my-scene/"}}`.

It spares the people who deliver photos from knowing about scripts and machines. To install it:
1. copy this file into modules/lambda/functions/triggers/
2. in dispatcher.py import it and add `"photo_check": PhotoCheckTrigger` to TRIGGER_REGISTRY
3. make lambda && terraform apply
"""

from typing import Any

from bad_input import BadInputError, shown
from message import Request

from triggers.base import BaseTrigger
from triggers.batch_job import BatchJobTrigger


class PhotoCheckTrigger(BaseTrigger):
    """Runs examples/cpu_processing.py over a folder of photos, on a small CPU machine."""

    def execute(self, request: Request) -> dict[str, Any]:
        folder = request.data.get("folder")
        if not isinstance(folder, str) or set(request.data) - {"folder", "request_id"}:
            raise BadInputError(
                field="data",
                given=shown(request.data),
                allowed='{"folder": "photos/my-scene/"}',
                fix="Name the folder of the input bucket that the photos are in, and nothing else.",
            )
        job = {"script_key": "examples/cpu_processing.py", "compute_type": "cpu", "input": folder}
        return BatchJobTrigger(self.settings).execute(request.derive("batch_job", job))
