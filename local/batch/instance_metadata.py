"""The documents of instance metadata that a host's programs read."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends

from local.batch.fleet import Host
from local.iam.credentials import Credentials

CREDENTIALS_PATH = "iam/security-credentials/"
CREDENTIALS_SECONDS = 6 * 3600


class InstanceMetadata:
    def __init__(self, find: Callable[[str], Host | None], region: str, credentials: Credentials) -> None:
        self._find = find
        self._region = region
        self._credentials = credentials

    def read(self, instance_id: str, path: str) -> str | None:
        """Return the text at latest/meta-data/<path>; None is 404, as for a notice that has not come."""
        host = self._find(instance_id)
        if host is None or not host.alive:
            return None
        if path.startswith(CREDENTIALS_PATH):
            return self._role(host, path.removeprefix(CREDENTIALS_PATH))
        documents: dict[str, Any] = {
            "instance-id": host.instance_id,
            "instance-type": host.offer.instance_type,
            "instance-life-cycle": "spot" if host.offer.spot else "on-demand",
            "placement/region": self._region,
            "placement/availability-zone": host.instance.placement.zone,
            "spot/instance-action": host.instance_action,
            "events/recommendations/rebalance": host.rebalance,
        }
        found = documents.get(path)
        return json.dumps(found) if isinstance(found, dict) else found

    def _role(self, host: Host, name: str) -> str | None:
        wanted = host.offer.environment.compute_resources["instanceRole"]
        profiles = iam_backends[DEFAULT_ACCOUNT_ID]["aws"].instance_profiles.values()
        roles = [role for each in profiles if wanted in (each.arn, each.name) for role in each.roles]
        if not name:
            return roles[0].name if roles else None
        if not roles or name != roles[0].name:
            return None
        keys = self._credentials(roles[0].arn, host.instance_id)
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=CREDENTIALS_SECONDS)
        document = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.get("AWS_ACCESS_KEY_ID", "embedded"),
            "SecretAccessKey": keys.get("AWS_SECRET_ACCESS_KEY", "embedded"),
            "Token": keys.get("AWS_SESSION_TOKEN", ""),
            "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return json.dumps(document, indent=2)
