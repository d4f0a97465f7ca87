"""Service Quotas of the embedded AWS, through boto3."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.embedded_aws import EmbeddedAWS

GPU_SPOT, GPU_ON_DEMAND, CPU_SPOT, CPU_ON_DEMAND = "L-3819A6DF", "L-DB2E81BA", "L-34B43A08", "L-1216C47A"


@pytest.fixture(scope="module")
def quotas(aws: EmbeddedAWS) -> Any:
    """One client for all tests here: a request stays open, so each test requests another quota."""
    return aws.client("service-quotas")


def request(quotas: Any, code: str = GPU_SPOT, value: float = 256, service: str = "ec2") -> dict[str, Any]:
    requested: dict[str, Any] = quotas.request_service_quota_increase(
        ServiceCode=service, QuotaCode=code, DesiredValue=value
    )["RequestedQuota"]
    return requested


def error_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_new_account_has_no_gpu_quota_and_lists_the_known_codes(quotas: Any) -> None:
    listed = {each["QuotaCode"]: each for each in quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]}
    assert listed[GPU_SPOT]["Value"] == listed[GPU_ON_DEMAND]["Value"] == 0
    assert "G and VT" in listed[GPU_SPOT]["QuotaName"]
    (one,) = quotas.list_service_quotas(ServiceCode="ec2", QuotaCode=CPU_SPOT)["Quotas"]
    assert one == quotas.get_service_quota(ServiceCode="ec2", QuotaCode=CPU_SPOT)["Quota"] == listed[CPU_SPOT]
    assert one["Value"] == 5


def test_a_request_stays_pending_and_leaves_the_value(quotas: Any) -> None:
    requested = request(quotas)
    assert (requested["Status"], requested["DesiredValue"], requested["QuotaCode"]) == ("PENDING", 256, GPU_SPOT)
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode=GPU_SPOT)["Quota"]["Value"] == 0
    history = quotas.list_requested_service_quota_change_history
    assert history(ServiceCode="ec2", Status="PENDING")["RequestedQuotas"] == [requested]
    assert history(Status="APPROVED")["RequestedQuotas"] == []


def test_a_second_request_for_the_same_quota_is_refused_while_the_first_is_open(quotas: Any) -> None:
    request(quotas, GPU_ON_DEMAND)
    with pytest.raises(ClientError) as caught:
        request(quotas, GPU_ON_DEMAND, value=512)
    assert error_of(caught) == (
        "ResourceAlreadyExistsException",
        "Only one open service quota increase request is allowed per quota.",
    )
    assert request(quotas, CPU_ON_DEMAND)["QuotaCode"] == CPU_ON_DEMAND


@pytest.mark.parametrize("value", [5, 4, 0])
def test_a_value_that_is_not_above_the_current_one_is_refused(quotas: Any, value: float) -> None:
    with pytest.raises(ClientError) as caught:
        request(quotas, CPU_SPOT, value)
    code, message = error_of(caught)
    assert code == "IllegalArgumentException" and "greater than the current quota value" in message
    requested = quotas.list_requested_service_quota_change_history()["RequestedQuotas"]
    assert CPU_SPOT not in [each["QuotaCode"] for each in requested]


@pytest.mark.parametrize("arguments", [{"code": "L-00000000"}, {"service": "batch"}])
def test_an_unknown_quota_or_service_is_refused_with_its_name(quotas: Any, arguments: dict[str, str]) -> None:
    with pytest.raises(ClientError) as caught:
        request(quotas, **arguments)
    code, message = error_of(caught)
    assert code == "NoSuchResourceException" and next(iter(arguments.values())) in message


def test_the_quotas_that_moto_knows_are_still_answered(quotas: Any) -> None:
    (first, *_) = quotas.list_aws_default_service_quotas(ServiceCode="vpc")["Quotas"]
    assert quotas.get_service_quota(ServiceCode="vpc", QuotaCode=first["QuotaCode"])["Quota"] == first
