"""A message (or an upload) becomes a Request, its trigger starts the work, once; a bad one is answered by e-mail."""

import os
from collections.abc import Sequence
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import SNSEvent
from aws_lambda_powertools.utilities.idempotency.exceptions import BaseError as IdempotencyError
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyValidationError
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from aws.observability import logger, metrics
from aws.once import run_once
from dispatch.deliveries import Delivery, SnsDelivery
from dispatch.refusal import refuse
from dispatch.uploads import upload_in
from splatworks.contract.documents.codec import DocumentError
from splatworks.contract.resumes import RESUME
from splatworks.planning.bad_input import BadInputError, format_value, nearest
from splatworks.planning.message import Request
from splatworks.planning.settings import DispatcherSettings
from triggers.base import BaseTrigger
from triggers.batch_job import BatchJobTrigger, other_body
from triggers.resume import ResumeTrigger
from triggers.splat_pipeline import SplatPipelineTrigger

TRIGGER_REGISTRY: dict[str, type[BaseTrigger]] = {
    "batch_job": BatchJobTrigger,
    "splat_pipeline": SplatPipelineTrigger,
    RESUME: ResumeTrigger,
}

# Lambda tries again, and then the message goes to the dead-letter queue with the reason. A document that cannot be read
# (written by a later version, say) may be readable after a terraform apply.
FAULTS = (ClientError, BotoCoreError, IdempotencyError, DocumentError)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    settings = DispatcherSettings.from_environment(os.environ)
    answers, faults = [], []
    for delivery in deliveries_in(event):
        try:
            answers.append(answer(delivery, settings, context))
        except FAULTS as fault:  # raised below, after the other messages of the event
            logger.exception("fault, to be tried again", delivery=delivery.identity)
            faults.append(fault)
    if faults:
        raise faults[0]
    return {"answers": answers}


def deliveries_in(event: dict[str, Any]) -> Sequence[Delivery]:
    """The messages in an event: SNS sends records, EventBridge one event, which need not start anything."""
    if "Records" in event:
        return [SnsDelivery(record.sns.message_id, record.sns.message) for record in SNSEvent(event).records]
    upload = upload_in(event)
    return [upload] if upload else []


def answer(delivery: Delivery, settings: DispatcherSettings, context: LambdaContext) -> dict[str, Any]:
    """Start what one message asks for, or refuse it."""
    try:
        return start_once(delivery.read(), settings, context)
    except BadInputError as problem:
        return refuse_once(delivery, problem, settings, context)


def start_once(request: Request, settings: DispatcherSettings, context: LambdaContext) -> dict[str, Any]:
    trigger = _trigger_for(request)(settings)

    def start() -> dict[str, Any]:
        started = trigger.execute(request)
        metrics.add_metric(name="MessagesAccepted", unit=MetricUnit.Count, value=1)
        logger.info("accepted", identity=request.identity, started=started)
        return started

    try:
        return run_once(
            start,
            kind="request",
            key=request.identity,
            body=request.published,
            table=settings.idempotency_table,
            context=context,
        )
    except IdempotencyValidationError:
        raise other_body(request) from None


def refuse_once(
    delivery: Delivery, problem: BadInputError, settings: DispatcherSettings, context: LambdaContext
) -> dict[str, Any]:
    def refuse_it() -> dict[str, Any]:
        refuse(delivery, problem, settings)
        metrics.add_metric(name="MessagesRefused", unit=MetricUnit.Count, value=1)
        logger.warning("refused", delivery=delivery.identity, field=problem.field, reason=str(problem))
        return {"refused": str(problem)}

    return run_once(
        refuse_it, kind="refusal", key=delivery.identity, body=None, table=settings.idempotency_table, context=context
    )


def _trigger_for(request: Request) -> type[BaseTrigger]:
    trigger = TRIGGER_REGISTRY.get(request.trigger_type)
    if trigger is None:
        known = list(TRIGGER_REGISTRY)
        raise BadInputError(
            field="trigger_type",
            given=format_value(request.trigger_type),
            allowed=f"one of {', '.join(known)}",
            fix=nearest(request.trigger_type, known),
        )
    return trigger
