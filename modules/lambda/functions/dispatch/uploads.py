"""An upload that starts a pipeline: photos/…/_READY starts it on its folder, photos/<scene>.zip on itself.

A zip in a folder below photos/ starts nothing: it is one of several, and _READY says when they are complete. Of other
spellings than .zip and .ZIP no event comes: see uploads.tf.

Options come from a pipeline.json in the folder, or <scene>.pipeline.json beside the zip, which must be there before.
"""

import json
import shlex
from typing import Any

from aws.clients import client
from dispatch.deliveries import Delivery
from splatworks.contract.keys import OPTIONS, PHOTOS, READY
from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.job_checks import zip_stem
from splatworks.planning.message import Request, parse, strict_json
from splatworks.planning.settings import DispatcherSettings

MOST_BYTES = 200_000  # of pipeline.json, so that it fits a message
NOT_IN_OPTIONS = ("input", "inputs", "request_id")  # the upload says these


def upload_in(event: dict[str, Any]) -> "Upload | None":
    """The upload that this event tells of, if it is one that starts something."""
    if event.get("source") != "aws.s3" or event.get("detail-type") != "Object Created":
        return None
    bucket, item = event["detail"]["bucket"]["name"], event["detail"]["object"]
    location = started_location(item["key"])
    return Upload(bucket, item["key"], location, item["sequencer"]) if location else None


def started_location(key: str) -> str | None:
    """The folder or the zip that the upload of this key starts the pipeline on."""
    if not key.startswith(PHOTOS):
        return None
    folder, _, name = key.rpartition("/")
    if name == READY and f"{folder}/" != PHOTOS:
        return f"{folder}/"
    return key if f"{folder}/" == PHOTOS and zip_stem(key) else None


class Upload(Delivery):
    def __init__(self, bucket: str, key: str, location: str, sequencer: str) -> None:
        super().__init__(identity=f"s3://{bucket}/{key}#{sequencer}", text="")
        self.bucket, self.key, self.location = bucket, key, location

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def options_key(self) -> str:
        """pipeline.json of the folder, or <name>.pipeline.json beside the zip."""
        if self.location.endswith("/"):
            return f"{self.location}{OPTIONS}"
        folder = self.location.rpartition("/")[0]
        return f"{folder}/{zip_stem(self.location)}.{OPTIONS}"

    def read(self) -> Request:
        options = self._options()
        metadata = options.pop("metadata", None)
        data = {"input": f"s3://{self.bucket}/{self.location}", **options}
        message: dict[str, Any] = {"trigger_type": "splat_pipeline", "data": data}
        if metadata is not None:
            message["metadata"] = metadata
        self.text = json.dumps(message)
        return parse(self.text, self.identity)

    def attributes(self) -> dict[str, str]:
        return {"upload": self.uri}

    def described(self) -> str:
        return f"The message that the upload of {self.uri} stands for"

    def how_to_repeat(self, settings: DispatcherSettings) -> str:
        upload = shlex.quote(self.uri)
        return f"""Its options come from s3://{self.bucket}/{self.options_key}, where there is one.
When everything is in its place, upload {self.key.rpartition("/")[2]} again, or have S3 do it:

  aws s3 cp {upload} {upload} --metadata-directive REPLACE"""

    def _options(self) -> dict[str, Any]:
        s3 = client("s3")
        try:
            answer = s3.get_object(Bucket=self.bucket, Key=self.options_key)
        except s3.exceptions.NoSuchKey:
            return {}
        body = answer["Body"].read(MOST_BYTES + 1)
        self.text = body.decode(errors="replace")
        if len(body) > MOST_BYTES:
            raise self._bad("more than that", "Leave out what is not needed.")
        try:
            options = strict_json(body.decode())
        except UnicodeDecodeError:
            raise self._bad("text that is not UTF-8", "Save it as UTF-8.") from None
        except BadInputError as problem:
            raise self._bad(problem.given, problem.fix) from None
        if not isinstance(options, dict):
            raise self._bad(format_value(options), 'Write {"preset": "draft"}, for one.')
        for name in NOT_IN_OPTIONS:
            if name in options:
                raise self._bad(f"{name} in it", f"Leave {name} out: the upload says it.")
        return options

    def _bad(self, given: str, fix: str) -> BadInputError:
        return BadInputError(
            field=OPTIONS,
            given=f"{given} (s3://{self.bucket}/{self.options_key})",
            allowed=f"one JSON object of at most {MOST_BYTES} bytes, with fields of data and metadata",
            fix=fix,
        )
