"""An SNS message becomes a Request, its trigger starts the work, once; a bad message is answered with an e-mail."""

import os
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import SNSEvent
from aws_lambda_powertools.utilities.data_classes.sns_event import SNSMessage
from aws_lambda_powertools.utilities.idempotency.exceptions import BaseError as IdempotencyError
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyValidationError
from aws_lambda_powertools.utilities.typing import LambdaContext
from bad_input import BadInputError, nearest, shown
from botocore.exceptions import BotoCoreError, ClientError
from message import Request, parse
from observability import logger, metrics
from once import run_once
from refusal import refuse
from settings import DispatcherSettings

from triggers.base import BaseTrigger
from triggers.batch_job import BatchJobTrigger, other_body
from triggers.splat_pipeline import SplatPipelineTrigger

TRIGGER_REGISTRY: dict[str, type[BaseTrigger]] = {
    "batch_job": BatchJobTrigger,
    "splat_pipeline": SplatPipelineTrigger,
}

AWS_FAULTS = (ClientError, BotoCoreError, IdempotencyError)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    settings = DispatcherSettings.from_environment(os.environ)
    answers, faults = [], []
    for record in SNSEvent(event).records:
        try:
            answers.append(answer(record.sns, settings, context))
        except AWS_FAULTS as fault:  # raised below, when the other messages of the event have had their turn
            logger.exception("AWS fault, to be tried again", sns_message_id=record.sns.message_id)
            faults.append(fault)
    if faults:
        raise faults[0]
    return {"answers": answers}


def answer(sns: SNSMessage, settings: DispatcherSettings, context: LambdaContext) -> dict[str, Any]:
    """Start what one message asks for, or refuse it."""
    try:
        return start_once(parse(sns.message, sns.message_id), settings, context)
    except BadInputError as problem:
        return refuse_once(sns, problem, settings, context)


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
    sns: SNSMessage, problem: BadInputError, settings: DispatcherSettings, context: LambdaContext
) -> dict[str, Any]:
    def refuse_it() -> dict[str, Any]:
        refuse(sns.message, sns.message_id, problem, settings)
        metrics.add_metric(name="MessagesRefused", unit=MetricUnit.Count, value=1)
        logger.warning("refused", sns_message_id=sns.message_id, field=problem.field, reason=str(problem))
        return {"refused": str(problem)}

    return run_once(
        refuse_it, kind="refusal", key=sns.message_id, body=None, table=settings.idempotency_table, context=context
    )


def _trigger_for(request: Request) -> type[BaseTrigger]:
    trigger = TRIGGER_REGISTRY.get(request.trigger_type)
    if trigger is None:
        known = list(TRIGGER_REGISTRY)
        raise BadInputError(
            field="trigger_type",
            given=shown(request.trigger_type),
            allowed=f"one of {', '.join(known)}",
            fix=nearest(request.trigger_type, known),
        )
    return trigger
