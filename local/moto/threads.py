"""Fix races in moto 5.2.5 that show under concurrent calls from Terraform and jobs: one function per fix."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from moto.awslambda.policy import Policy
from moto.dynamodb.models import DynamoDBBackend
from moto.ec2.exceptions import InvalidPermissionNotFoundError
from moto.ec2.models import EC2Backend
from moto.events.models import Rule
from moto.s3.responses import S3Response
from moto.s3.utils import _VersionedKeyStore

from local.moto.hooks import Hooks


def install(hooks: Hooks) -> None:
    for fix in (
        make_conditional_writes_atomic,
        list_objects_while_others_delete,
        change_lists_one_at_a_time,
        revoke_what_is_gone,
    ):
        fix(hooks)


def make_conditional_writes_atomic(hooks: Hooks) -> None:
    """moto checks and then writes without a lock, so two threads could both be the first."""
    lock = threading.Lock()

    def put_object(original: Any, response: S3Response) -> Any:
        if response.headers.get("If-None-Match") is None:
            return original(response)
        with lock:
            return original(response)

    def write_item(original: Any, backend: DynamoDBBackend, *args: Any, **kwargs: Any) -> Any:
        with lock:
            return original(backend, *args, **kwargs)

    hooks.wrap(S3Response, "put_object", put_object)
    for name in ("put_item", "update_item", "delete_item"):
        hooks.wrap(DynamoDBBackend, name, write_item)


def list_objects_while_others_delete(hooks: Hooks) -> None:
    """moto iterates over a copy of the keys and looks each one up after it may have been deleted."""

    def lists(store: Any) -> Iterator[tuple[str, list[Any]]]:
        for key, versions in store._self_iterable().items():
            yield key, list(versions)

    def items(store: Any) -> Iterator[tuple[str, Any]]:
        for key, versions in lists(store):
            if versions:
                yield key, versions[-1]

    def values(store: Any) -> Iterator[Any]:
        for _, latest in items(store):
            yield latest

    for name, replacement in (("lists", lists), ("iterlists", lists), ("items", items), ("values", values)):
        hooks.replace(_VersionedKeyStore, name, replacement)


def change_lists_one_at_a_time(hooks: Hooks) -> None:
    """moto searches a list while another thread shortens it, and skips the items that moved up.

    To Terraform, which destroys 20 resources at a time, a permission that is not found is gone, until it looks again.
    """
    lock = threading.RLock()

    def change(original: Any, *args: Any, **kwargs: Any) -> Any:
        with lock:
            return original(*args, **kwargs)

    groups = [f"{verb}_security_group_{way}" for verb in ("authorize", "revoke") for way in ("ingress", "egress")]
    for owner, names in (
        (Policy, ["add_statement", "del_statement"]),
        (Rule, ["put_targets", "remove_targets"]),
        (EC2Backend, groups),
    ):
        for name in names:
            hooks.wrap(owner, name, change)


def revoke_what_is_gone(hooks: Hooks) -> None:
    """On a busy machine an answer can be lost, and Terraform asks again to revoke a new group's only rule."""

    def revoke(original: Any, backend: EC2Backend, group_name_or_id: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(backend, group_name_or_id, *args, **kwargs)
        except InvalidPermissionNotFoundError:
            group = backend.get_security_group_by_name_or_id(group_name_or_id)
            if group is None or group.egress_rules:
                raise

    hooks.wrap(EC2Backend, "revoke_security_group_egress", revoke)
