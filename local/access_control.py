"""IAM for functions and jobs: each gets credentials of its role, and its calls are checked against the role's policies.

Everyone else, Terraform and people, is the account's administrator.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.sns.models import sns_backends
from moto.sts.models import sts_backends

from local.hooks import Hooks
from local.policy_evaluation import is_allowed
from local.request_actions import Asked, Request, asked

CREDENTIAL = re.compile(r"Credential=([^/]+)/[^/]+/([^/]+)/([^/]+)/aws4_request")
KEY_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")
SESSION_SECONDS = 43_200


class AccessControl:
    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self.denials: list[str] = []
        self._roles: dict[str, str] = {}  # role ARN by access key

    def install(self, hooks: Hooks) -> None:
        hooks.wrap(DomainDispatcherApplication, "__call__", self._check)

    def credentials(self, role_arn: str, session: str) -> dict[str, str]:
        """Variables for the environment of a process that acts as the role."""
        backend = sts_backends[DEFAULT_ACCOUNT_ID]["aws"]
        assumed = backend.assume_role("us-east-1", session[:64], role_arn, "", SESSION_SECONDS, "")
        self._roles[assumed.access_key_id] = role_arn
        return {
            "AWS_ACCESS_KEY_ID": assumed.access_key_id,
            "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
            "AWS_SESSION_TOKEN": assumed.session_token,
        }

    def _check(self, original: Any, app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        found = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        role = self._roles.get(found[1]) if found else None
        if found is None or role is None:
            return original(app, environ, start_response)
        request = self._request(environ, found[2], found[3])
        for action, resource in self._asked(request):
            context = {"aws:RequestedRegion": request.region, "aws:SecureTransport": "true"}
            if not is_allowed(policies_of(role), action, resource, context):
                message = f"{role} is not authorized to perform: {action} on resource: {resource}"
                self.denials.append(message)
                self._log(f"IAM: {message}")
                return refuse(request.service, message, start_response)
        return original(app, environ, start_response)

    def _asked(self, request: Request) -> list[Asked]:
        """A publisher to an encrypted topic needs its key, which is easily forgotten."""
        found = asked(request)
        keys = [topic_key(resource) for action, resource in found if action == "sns:Publish"]
        return found + [(action, key) for key in keys if key for action in KEY_ACTIONS]

    @staticmethod
    def _request(environ: dict[str, Any], region: str, service: str) -> Request:
        # An S3 object is no reason to read a gigabyte: only the list of keys of a DeleteObjects tells what is asked.
        wanted = service != "s3" or (environ["REQUEST_METHOD"] == "POST" and "delete" in environ["QUERY_STRING"])
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) if wanted else b""
        if wanted:
            environ["wsgi.input"] = io.BytesIO(body)
        names = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        return Request(
            service=service,
            region=region,
            account=DEFAULT_ACCOUNT_ID,
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            query=environ["QUERY_STRING"],
            headers=names,
            body=body,
        )


def topic_key(topic_arn: str) -> str | None:
    """The customer key that a topic is encrypted with. AWS's own key needs no permission."""
    region, account = topic_arn.split(":")[3:5]
    topic = sns_backends[account][region].topics.get(topic_arn)
    key = topic.kms_master_key_id if topic else None
    return key if key and key.startswith("arn:") else None


def policies_of(role_arn: str) -> list[dict[str, Any]]:
    role = iam_backends[DEFAULT_ACCOUNT_ID]["aws"].get_role_by_arn(role_arn)
    versions = [version for policy in role.managed_policies.values() for version in policy.versions]
    attached = [version.document for version in versions if version.is_default]
    return [json.loads(text) for text in (*role.policies.values(), *attached)]


def refuse(service: str, message: str, start_response: Any) -> list[bytes]:
    """403 in the service's own form, so that the SDK raises what it would raise on AWS."""
    if service in ("s3", "sns", "ec2", "iam", "sts"):
        error = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
        text = error if service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        kind = "text/xml"
    else:
        text = json.dumps({"__type": "AccessDeniedException", "message": message})
        kind = "application/json"
    headers = [("Content-Type", kind), ("x-amzn-errortype", "AccessDeniedException")]
    start_response("403 Forbidden", headers)
    return [text.encode()]
