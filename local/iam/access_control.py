"""IAM for functions and jobs: each gets credentials of its role, and its calls are checked against the role's policies.

So are the calls of whoever assumes a role, and URLs that were signed with its credentials. Everyone else, Terraform and
people, is the account's administrator.
"""

from __future__ import annotations

import datetime
import io
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.sns.models import sns_backends

from local.iam.assumed_roles import AssumedRoles, Session
from local.iam.policy_evaluation import is_allowed
from local.iam.request_actions import ApiRequest, Asked, asked, condition_keys
from local.moto.hooks import Hooks

# In the header of a signed request (parts separated by /), and in the query of a signed URL (by %2F).
CREDENTIAL = re.compile(r"Credential=([^/%&]+)(?:/|%2F)\d{8}(?:/|%2F)([^/%&]+)(?:/|%2F)([^/%&]+)(?:/|%2F)aws4_request")
KEY_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")


class AccessControl:
    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self.denials: list[str] = []
        self._sessions = AssumedRoles()

    def install(self, hooks: Hooks) -> None:
        hooks.wrap(DomainDispatcherApplication, "__call__", self._check)
        self._sessions.install(hooks)

    def credentials(self, role_arn: str, session: str) -> dict[str, str]:
        """Return environment variables for a process that acts as the role."""
        return self._sessions.of_service(role_arn, session)

    def _check(self, original: Any, app: Any, environ: dict[str, Any], start_response: Any) -> Any:
        query = environ.get("QUERY_STRING", "")
        found = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", "") or query)
        session = self._sessions.find(found[1] if found else "")
        if url_expired(query):
            return refuse("s3", "AccessDenied", "Request has expired", start_response)
        if found is None or session is None:
            return original(app, environ, start_response)
        request = self._request(environ, found[2], found[3])
        if session.expired:
            return refuse(request.service, "ExpiredToken", "The provided token has expired.", start_response)
        problem = self._denied(session, request)
        if problem:
            self.denials.append(problem)
            self._log(f"IAM: {problem}")
            return refuse(request.service, "AccessDenied", problem, start_response)
        return original(app, environ, start_response)

    def _denied(self, session: Session, request: ApiRequest) -> str | None:
        contexts = condition_keys(request)
        for action, resource in self._asked(request):
            allowed = all(
                is_allowed(policies, action, resource, context)
                for policies in session.policies()
                for context in contexts
            )
            if action == "sts:AssumeRole":
                allowed = self._sessions.may_assume(session, resource, allowed)
            if not allowed:
                return f"{session.role_arn} is not authorized to perform: {action} on resource: {resource}"
        return None

    def _asked(self, request: ApiRequest) -> list[Asked]:
        """Return all actions of the request, including those on the key of an encrypted topic."""
        found = asked(request)
        keys = [topic_key(resource) for action, resource in found if action == "sns:Publish"]
        return found + [(action, key) for key in keys if key for action in KEY_ACTIONS]

    @staticmethod
    def _request(environ: dict[str, Any], region: str, service: str) -> ApiRequest:
        # Never read an S3 object, which may be large: of S3 bodies only the key list of DeleteObjects matters.
        wanted = service != "s3" or (environ["REQUEST_METHOD"] == "POST" and "delete" in environ["QUERY_STRING"])
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) if wanted else b""
        if wanted:
            environ["wsgi.input"] = io.BytesIO(body)
        names = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        return ApiRequest(
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
    """Return the customer key that a topic is encrypted with. AWS's own key needs no permission."""
    region, account = topic_arn.split(":")[3:5]
    topic = sns_backends[account][region].topics.get(topic_arn)
    key = topic.kms_master_key_id if topic else None
    return key if key and key.startswith("arn:") else None


def url_expired(query: str) -> bool:
    signed = dict(parse_qsl(query)) if "X-Amz-Expires=" in query else {}
    if "X-Amz-Date" not in signed:
        return False
    at = datetime.datetime.strptime(signed["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    return datetime.datetime.now(datetime.UTC) > at + datetime.timedelta(seconds=int(signed["X-Amz-Expires"]))


def refuse(service: str, code: str, message: str, start_response: Any) -> list[bytes]:
    """Answer 403 in the service's format, so that the SDK raises the same exception as on AWS."""
    if service in ("s3", "sns", "ec2", "iam", "sts"):
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        text = error if service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        kind = "text/xml"
    else:
        code = f"{code}Exception"
        text = json.dumps({"__type": code, "message": message})
        kind = "application/json"
    headers = [("Content-Type", kind), ("x-amzn-errortype", code)]
    start_response("403 Forbidden", headers)
    return [text.encode()]
