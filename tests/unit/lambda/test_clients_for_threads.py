"""botocore makes a client's exception classes at first use, and two threads at once make different ones."""

import pytest
from botocore.errorfactory import ClientExceptionsFactory
from lambda_platform import Platform


def test_the_exceptions_of_a_client_are_made_before_threads_share_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aws.clients import client

    client.cache_clear()
    made = client("ecr")

    def make(*_: object) -> None:
        raise AssertionError("made at first use")

    monkeypatch.setattr(ClientExceptionsFactory, "create_client_exceptions", make)
    assert issubclass(made.exceptions.ImageNotFoundException, Exception)
