"""Find the actions and resources of a request, as policies name them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

Asked = tuple[str, str]  # action, resource

# Sub-resources of S3 by method; without one it is the object or the bucket itself.
S3_SUBRESOURCES = {
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("GET", "versions"): "ListBucketVersions",
    ("GET", "location"): "GetBucketLocation",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "uploadId"): "ListMultipartUploadParts",
}
S3_OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}
S3_BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    service: str  # as in the signature
    region: str
    account: str
    method: str
    path: str
    query: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body or b"{}")
        return parsed

    def arn(self, service: str, name: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{name}"


def asked(request: ApiRequest) -> list[Asked]:
    """Return all (action, resource) pairs of the request; each must be allowed."""
    if request.service == "s3":
        return _s3(request)
    if request.service == "batch":
        return _batch(request)
    if request.service == "scheduler":
        return _scheduler(request)
    target = request.headers.get("x-amz-target", "")
    if target:
        return _json(request, target.rpartition(".")[2])
    form = parse_qs(request.body.decode(errors="replace") or request.query)
    action = form.get("Action", ["Unknown"])[0]
    named = {"sns": "TopicArn", "sts": "RoleArn"}.get(request.service, "")
    return [(f"{request.service}:{action}", form.get(named, ["*"])[0])]


def condition_keys(request: ApiRequest) -> list[dict[str, str]]:
    """Return the condition keys of the request; one set per entry if it is a batch."""
    known = {"aws:RequestedRegion": request.region, "aws:SecureTransport": "true"}
    if request.service == "events" and request.headers.get("x-amz-target", "").endswith(".PutEvents"):
        entries = request.document.get("Entries", [])
        return [
            {**known, "events:source": entry.get("Source", ""), "events:detail-type": entry.get("DetailType", "")}
            for entry in entries
        ]
    if request.service == "scheduler":
        known["iam:PassedToService"] = "scheduler.amazonaws.com"
    return [known]


def _s3(request: ApiRequest) -> list[Asked]:
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    parameters = set(parse_qs(request.query, keep_blank_values=True))
    if not bucket:
        return [("s3:ListAllMyBuckets", "*")]
    arn = f"arn:aws:s3:::{bucket}"
    if not key and request.method == "POST" and "delete" in parameters:
        keys = re.findall(r"<Key>(.*?)</Key>", request.body.decode())
        return [("s3:DeleteObject", f"{arn}/{each}") for each in keys]
    sub = [name for (method, word), name in S3_SUBRESOURCES.items() if method == request.method and word in parameters]
    name = sub[0] if sub else (S3_OBJECT if key else S3_BUCKET)[request.method]
    found = [(f"s3:{name}", f"{arn}/{key}" if key else arn)]
    if "x-amz-copy-source" in request.headers:
        source = unquote(request.headers["x-amz-copy-source"]).lstrip("/").partition("?")[0]
        found.append(("s3:GetObject", f"arn:aws:s3:::{source}"))
    if "x-amz-tagging" in request.headers:
        found.append(("s3:PutObjectTagging", f"{arn}/{key}"))
    return found


def _batch(request: ApiRequest) -> list[Asked]:
    operation = request.path.rpartition("/")[2]
    if operation != "submitjob":
        return [(f"batch:{operation}", "*")]
    document = request.document
    queue, definition = document["jobQueue"], document["jobDefinition"]
    found = [
        ("batch:SubmitJob", queue if queue.startswith("arn:") else request.arn("batch", f"job-queue/{queue}")),
        (
            "batch:SubmitJob",
            definition if definition.startswith("arn:") else request.arn("batch", f"job-definition/{definition}"),
        ),
    ]
    if document.get("tags"):
        found.append(("batch:TagResource", request.arn("batch", "job/new")))
    return found


def _scheduler(request: ApiRequest) -> list[Asked]:
    kind, _, name = request.path.strip("/").partition("/")
    verb = {"POST": "Create", "PUT": "Update", "DELETE": "Delete", "GET": "Get"}[request.method]
    if kind != "schedules" or not name:
        return [(f"scheduler:{verb}", "*")]
    document = request.document if request.body else {}
    group = document.get("GroupName") or parse_qs(request.query).get("groupName", ["default"])[0]
    found = [(f"scheduler:{verb}Schedule", request.arn("scheduler", f"schedule/{group}/{name}"))]
    if role := (document.get("Target") or {}).get("RoleArn"):
        found.append(("iam:PassRole", role))
    return found


def _json(request: ApiRequest, operation: str) -> list[Asked]:
    document = request.document
    service = request.service
    resources = ["*"]
    if service == "dynamodb":
        resources = [request.arn("dynamodb", f"table/{document.get('TableName', '')}")]
    elif service == "sqs" and "QueueUrl" in document:
        resources = [request.arn("sqs", document["QueueUrl"].rpartition("/")[2])]
    elif service == "logs" and "logGroupName" in document:
        resources = [request.arn("logs", f"log-group:{document['logGroupName']}:log-stream:{stream_of(document)}")]
    elif service == "events" and operation == "PutEvents":
        buses = [entry.get("EventBusName") or "default" for entry in document.get("Entries", [])]
        resources = [bus if bus.startswith("arn:") else request.arn("events", f"event-bus/{bus}") for bus in buses]
    elif service == "ecr" and "repositoryName" in document:
        resources = [request.arn("ecr", f"repository/{document['repositoryName']}")]
    elif service == "ecs":
        resources = [*document.get("tasks", []), *document.get("containerInstances", [])] or ["*"]
    return [(f"{service}:{operation}", resource) for resource in resources]


def stream_of(document: dict[str, Any]) -> str:
    return str(document.get("logStreamName", ""))
