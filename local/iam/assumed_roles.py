"""Sessions of roles: those of functions and jobs, and those made by sts:AssumeRole."""

from __future__ import annotations

import datetime
import functools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.sts.exceptions import STSValidationError
from moto.sts.models import STSBackend, sts_backends

from local.iam.policy_evaluation import as_list
from local.moto.hooks import Hooks

SERVICE_SECONDS = 43_200  # AWS renews the credentials of functions and jobs by itself
CHAINED_SECONDS = 3_600  # at most, when a role's credentials assume a role


@dataclass(frozen=True)
class Session:
    role_arn: str
    expires: datetime.datetime
    policy: str | None  # narrows what the role may do

    @property
    def expired(self) -> bool:
        return datetime.datetime.now(datetime.UTC) >= self.expires

    def policies(self) -> Iterator[list[dict[str, Any]]]:
        """Yield groups of policies, each of which must allow the request."""
        yield policies_of(self.role_arn)
        if self.policy:
            yield [parsed(self.policy)]


class AssumedRoles:
    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}  # by access key
        self._caller = threading.local()  # a request is answered in one thread

    def install(self, hooks: Hooks) -> None:
        hooks.wrap(STSBackend, "assume_role", self._assume)

    def find(self, access_key: str) -> Session | None:
        session = self._sessions.get(access_key)
        self._caller.session = session
        return session

    def of_service(self, role_arn: str, name: str) -> dict[str, str]:
        """Return the credentials as environment variables."""
        self._caller.session = None
        backend = sts_backends[DEFAULT_ACCOUNT_ID]["aws"]
        assumed = backend.assume_role("us-east-1", name[:64], role_arn, "", SERVICE_SECONDS, "")
        return {
            "AWS_ACCESS_KEY_ID": assumed.access_key_id,
            "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
            "AWS_SESSION_TOKEN": assumed.session_token,
        }

    def _assume(self, original: Any, backend: STSBackend, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(("region_name", "role_session_name", "role_arn", "policy", "duration"), args, strict=False))
        given |= kwargs
        if getattr(self._caller, "session", None) and given["duration"] > CHAINED_SECONDS:
            raise STSValidationError(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            )
        assumed = original(backend, *args, **kwargs)
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=given["duration"])
        self._sessions[assumed.access_key_id] = Session(given["role_arn"], expires, given.get("policy") or None)
        return assumed

    @staticmethod
    def may_assume(caller: Session, role_arn: str, allowed_by_caller: bool) -> bool:
        """The role's trust must name the caller; if it names the account, the caller's policies decide."""
        try:
            trust = role_of(role_arn).assume_role_policy_document
        except NotFoundException:
            return False  # AWS does not reveal either that the role does not exist
        trusted = [
            principal
            for statement in as_list(parsed(trust)["Statement"])
            if statement["Effect"] == "Allow" and "sts:AssumeRole" in as_list(statement["Action"])
            for principal in as_list((statement.get("Principal") or {}).get("AWS", []))
        ]
        account = caller.role_arn.split(":")[4]
        whole_account = {account, f"arn:aws:iam::{account}:root"} & set(trusted)
        return caller.role_arn in trusted or bool(whole_account and allowed_by_caller)


def policies_of(role_arn: str) -> list[dict[str, Any]]:
    role = role_of(role_arn)
    versions = [version for policy in role.managed_policies.values() for version in policy.versions]
    attached = [version.document for version in versions if version.is_default]
    return [parsed(text) for text in (*role.policies.values(), *attached)]


def role_of(role_arn: str) -> Any:
    return iam_backends[DEFAULT_ACCOUNT_ID]["aws"].get_role_by_arn(role_arn)


@functools.lru_cache(maxsize=256)
def parsed(document: str) -> dict[str, Any]:
    """Parse a policy. Cached, since policies are read for every request and rarely change."""
    content: dict[str, Any] = json.loads(document)
    return content
