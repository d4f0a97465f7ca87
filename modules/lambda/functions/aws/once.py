"""Deliveries happen at least once; what they cause must happen once."""

import functools
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

from aws.clients import client

KEPT_SECONDS = 14 * 24 * 3600


def run_once(
    function: Callable[[], dict[str, Any]], *, kind: str, key: str, body: Any, table: str, context: LambdaContext
) -> dict[str, Any]:
    """Call `function` unless it has succeeded for this kind and key before; then answer what it answered.

    The same key with another body raises IdempotencyValidationError; a call that another delivery is in the middle of
    raises IdempotencyAlreadyInProgressError, for Lambda to try again. A call that raised may be made again.
    """
    config = IdempotencyConfig(
        event_key_jmespath="key",
        payload_validation_jmespath="body",
        expires_after_seconds=KEPT_SECONDS,
        hash_function="sha256",
        lambda_context=context,  # so that the lock of a function that was killed ends with the function's timeout
    )

    @idempotent_function(
        data_keyword_argument="work", persistence_store=_store(table, kind), config=config, key_prefix=kind
    )
    def perform(work: dict[str, Any]) -> dict[str, Any]:
        return function()

    answer: dict[str, Any] = perform(work={"key": key, "body": body})
    return answer


@functools.cache
def _store(table: str, kind: str) -> DynamoDBPersistenceLayer:
    # A store keeps the key prefix of its last use, so that each kind of work needs its own.
    return DynamoDBPersistenceLayer(table_name=table, boto3_client=client("dynamodb"))
