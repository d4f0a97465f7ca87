"""Service Quotas for EC2: list quotas and request increases. moto has quotas for VPC only."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.servicequotas.responses import ServiceQuotasResponse

from local.moto.hooks import Hooks

SERVICE = {"ServiceCode": "ec2", "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)"}
# Values of a new account, in vCPUs. Names and codes are the same in every account.
EC2_QUOTAS = {
    "L-DB2E81BA": ("Running On-Demand G and VT instances", 0.0),
    "L-3819A6DF": ("All G and VT Spot Instance Requests", 0.0),
    "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 5.0),
    "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 5.0),
}
MAX_VALUE = 10_000_000_000
FILTERS = ("ServiceCode", "Status")  # of the list of requests

Location = tuple[str, str]  # account, region


class ServiceQuotas:
    """Nobody decides about a request here, so it stays PENDING and the quota keeps its value."""

    def __init__(self) -> None:
        self._requested: dict[Location, list[dict[str, Any]]] = {}

    def install(self, hooks: Hooks) -> None:
        # moto finds only plain functions on the class, not bound methods.
        added = {
            "list_service_quotas": lambda response: self._list(response),
            "request_service_quota_increase": lambda response: self._request_increase(response),
            "list_requested_service_quota_change_history": lambda response: self._history(response),
        }
        for name, answer in added.items():
            hooks.replace(ServiceQuotasResponse, name, answer)
        hooks.wrap(ServiceQuotasResponse, "get_service_quota", self._get)

    def _list(self, response: ServiceQuotasResponse) -> str:
        parameters = json.loads(response.body)
        require_ec2(parameters)
        wanted = parameters.get("QuotaCode")
        codes = [code for code in EC2_QUOTAS if wanted in (None, code)]
        return json.dumps({"Quotas": [describe_quota(location_of(response), code) for code in codes]})

    def _get(self, original: Any, response: ServiceQuotasResponse) -> str:
        parameters = json.loads(response.body)
        if parameters.get("ServiceCode") != "ec2":
            answer: str = original(response)
            return answer
        return json.dumps({"Quota": describe_quota(location_of(response), require_code(parameters))})

    def _request_increase(self, response: ServiceQuotasResponse) -> str:
        parameters = json.loads(response.body)
        require_ec2(parameters)
        quota = describe_quota(location_of(response), require_code(parameters))
        desired = require_increase(parameters.get("DesiredValue"), quota)
        requests = self._requested.setdefault(location_of(response), [])
        if any(each["QuotaCode"] == quota["QuotaCode"] for each in requests):
            raise JsonRESTError(
                "ResourceAlreadyExistsException", "Only one open service quota increase request is allowed per quota."
            )
        requests.append(pending_request(quota, desired, account=response.current_account))
        return json.dumps({"RequestedQuota": requests[-1]})

    def _history(self, response: ServiceQuotasResponse) -> str:
        parameters = json.loads(response.body)
        requests = self._requested.get(location_of(response), [])
        found = [each for each in requests if all(parameters.get(name) in (None, each[name]) for name in FILTERS)]
        return json.dumps({"RequestedQuotas": found})


def require_ec2(parameters: dict[str, Any]) -> None:
    if parameters.get("ServiceCode") != "ec2":
        raise no_such_resource(f"The service {parameters.get('ServiceCode')} has no quotas here; known is ec2.")


def require_code(parameters: dict[str, Any]) -> str:
    code = str(parameters.get("QuotaCode"))
    if code not in EC2_QUOTAS:
        raise no_such_resource(f"The quota {code} of ec2 does not exist here; known are {', '.join(EC2_QUOTAS)}.")
    return code


def require_increase(desired: Any, quota: dict[str, Any]) -> float:
    if isinstance(desired, bool) or not isinstance(desired, int | float) or not 0 <= desired <= MAX_VALUE:
        raise illegal_argument(f"DesiredValue {desired!r} is not a number between 0 and {MAX_VALUE}.")
    if desired <= quota["Value"]:
        raise illegal_argument("You must provide a quota value greater than the current quota value")
    return float(desired)


def describe_quota(location: Location, code: str) -> dict[str, Any]:
    name, value = EC2_QUOTAS[code]
    account, region = location
    return {
        **SERVICE,
        "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:ec2/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
    }


def pending_request(quota: dict[str, Any], desired: float, *, account: str) -> dict[str, Any]:
    now = time.time()
    copied = ("ServiceCode", "ServiceName", "QuotaArn", "QuotaCode", "QuotaName", "Unit", "GlobalQuota")
    return {
        **{name: quota[name] for name in copied},
        "Id": uuid.uuid4().hex,
        "DesiredValue": desired,
        "Status": "PENDING",
        "Created": now,
        "LastUpdated": now,
        "Requester": json.dumps({"accountId": account, "callerArn": f"arn:aws:iam::{account}:root"}),
        "QuotaRequestedAtLevel": quota["QuotaAppliedAtLevel"],
    }


def location_of(response: ServiceQuotasResponse) -> Location:
    return response.current_account, response.region


def no_such_resource(message: str) -> JsonRESTError:
    return JsonRESTError("NoSuchResourceException", message)


def illegal_argument(message: str) -> JsonRESTError:
    return JsonRESTError("IllegalArgumentException", message)
