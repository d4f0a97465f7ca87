"""Functions as deployed: only the zip and boto3, warm processes, time-outs, retries, dead letters, permissions."""

import io
import json
import textwrap
import zipfile
from typing import Any

import pytest

HANDLER = """
    import os, time
    calls = 0

    def handler(event, context):
        global calls
        calls += 1
        print("handling", event, flush=True)
        action = event.get("action") or event["Records"][0]["Sns"]["Message"]
        if action == "fail":
            raise ValueError("as asked")
        if action == "sleep":
            time.sleep(20)
        if action == "exit":
            os._exit(3)
        if action == "import":
            import numpy
        left = context.get_remaining_time_in_millis()
        return {"calls": calls, "pid": os.getpid(), "left": left, "name": context.function_name,
                "request": context.aws_request_id, "greeting": os.environ.get("GREETING"),
                "region": os.environ["AWS_REGION"], "boto3": __import__("boto3").__version__}
"""


def packed(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", textwrap.dedent(source))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def function(aws: Any) -> str:
    name = "function"
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = aws.client("iam").create_role(RoleName="function", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    queue = aws.client("sqs").create_queue(QueueName="dead-letters")["QueueUrl"]
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": packed(HANDLER)},
        Timeout=3,
        Environment={"Variables": {"GREETING": "hello"}},
        DeadLetterConfig={"TargetArn": arn},
    )
    return name


def invoke(aws: Any, function: str, **event: Any) -> dict[str, Any]:
    answer = aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    return {"error": answer.get("FunctionError"), "payload": json.load(answer["Payload"])}


def letters(aws: Any) -> list[dict[str, Any]]:
    url = aws.client("sqs").get_queue_url(QueueName="dead-letters")["QueueUrl"]
    received = aws.client("sqs").receive_message(QueueUrl=url, MessageAttributeNames=["All"], MaxNumberOfMessages=10)
    for letter in received.get("Messages", []):
        aws.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])
    found: list[dict[str, Any]] = received.get("Messages", [])
    return found


def test_a_function_stays_warm_and_knows_its_context(aws: Any, function: str) -> None:
    first, second = (invoke(aws, function, action="none")["payload"] for _ in range(2))
    assert (second["calls"], second["pid"]) == (first["calls"] + 1, first["pid"])
    assert (first["name"], first["greeting"], first["region"]) == (function, "hello", "us-east-1")
    assert first["request"] != second["request"]
    assert 0 < second["left"] <= 3000


def test_a_new_configuration_is_a_new_process(aws: Any, function: str) -> None:
    before = invoke(aws, function, action="none")["payload"]
    variables = {"Variables": {"GREETING": "good day"}}
    aws.client("lambda").update_function_configuration(FunctionName=function, Environment=variables)
    after = invoke(aws, function, action="none")["payload"]
    assert (after["greeting"], after["calls"]) == ("good day", 1)
    assert after["pid"] != before["pid"]


def test_what_is_not_in_the_zip_is_not_there(aws: Any, function: str) -> None:
    answer = invoke(aws, function, action="import")
    assert answer["payload"]["errorType"] == "ModuleNotFoundError"
    assert "numpy" in answer["payload"]["errorMessage"]


def test_an_error_is_told_with_its_type_and_stack(aws: Any, function: str) -> None:
    answer = invoke(aws, function, action="fail")
    assert answer["error"] == "Unhandled"
    assert (answer["payload"]["errorType"], answer["payload"]["errorMessage"]) == ("ValueError", "as asked")
    assert any("app.py" in line for line in answer["payload"]["stackTrace"])


def test_a_function_that_takes_too_long_or_exits_is_an_error_and_the_next_call_works(aws: Any, function: str) -> None:
    assert invoke(aws, function, action="sleep")["payload"]["errorMessage"].endswith(
        "Task timed out after 3.00 seconds"
    )
    assert invoke(aws, function, action="exit")["payload"]["errorType"] == "Runtime.ExitError"
    assert invoke(aws, function, action="none")["payload"]["calls"] == 1


def test_an_asynchronous_event_is_tried_three_times_and_then_a_dead_letter(aws: Any, function: str) -> None:
    event = {"action": "fail", "id": "poison"}
    answer = aws.client("lambda").invoke(
        FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode()
    )
    assert answer["StatusCode"] == 202
    (letter,) = aws.wait_until(lambda: letters(aws))
    attributes = {name: item["StringValue"] for name, item in letter["MessageAttributes"].items()}
    assert json.loads(letter["Body"]) == event
    assert (attributes["ErrorCode"], attributes["ErrorMessage"]) == ("200", "as asked")

    def attempts() -> int:
        found = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
        return sum(f"START RequestId: {attributes['RequestID']}" in event["message"] for event in found)

    aws.wait_until(lambda: attempts() == 3)


def test_an_event_whose_process_is_killed_is_tried_again_when_the_functions_time_is_over(
    aws: Any, function: str
) -> None:
    """Not before: a lock that the dead process held lasts until then."""
    event = json.dumps({"action": "sleep", "id": "killed"}).encode()
    aws.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=event)

    def tries() -> list[int]:
        found = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
        return [line["timestamp"] for line in found if "handling" in line["message"] and "killed" in line["message"]]

    aws.wait_until(tries, what="the first try")
    assert aws.kill_function(function) == 1
    aws.wait_until(lambda: len(tries()) == 2, what="the second try")
    first, second = tries()
    assert second - first >= 3000
    aws.wait_until(lambda: letters(aws), what="the last try to end")


def test_a_topic_invokes_only_a_function_that_permits_it(aws: Any, function: str) -> None:
    sns, functions = aws.client("sns"), aws.client("lambda")
    topic = sns.create_topic(Name="events")["TopicArn"]
    arn = functions.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    dead_letters = {"deadLetterTargetArn": f"{topic.rsplit(':', 1)[0].replace(':sns:', ':sqs:')}:dead-letters"}
    sns.subscribe(
        TopicArn=topic, Protocol="lambda", Endpoint=arn, Attributes={"RedrivePolicy": json.dumps(dead_letters)}
    )
    sns.publish(TopicArn=topic, Message="not permitted")
    assert [letter["Body"] for letter in aws.wait_until(lambda: letters(aws))] == ["not permitted"]

    functions.add_permission(
        FunctionName=function,
        StatementId="topic",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    message_id = sns.publish(TopicArn=topic, Message="permitted", Subject="hello")["MessageId"]

    def handled() -> bool:
        found = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
        return any("handling" in event["message"] and message_id in event["message"] for event in found)

    aws.wait_until(handled, what="the function to be invoked with the message's own id")


def test_rules_deliver_to_topics_and_what_cannot_be_delivered_to_the_targets_own_queue(aws: Any, function: str) -> None:
    events, sns = aws.client("events"), aws.client("sns")
    topic = sns.create_topic(Name="mail")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ann@example.com")
    gone = topic.replace(":mail", ":no-such-topic")
    letter_queue = f"{topic.rsplit(':', 1)[0].replace(':sns:', ':sqs:')}:dead-letters"
    events.put_rule(Name="ours", EventPattern=json.dumps({"source": ["test"]}))
    events.put_rule(Name="off", EventPattern=json.dumps({"source": ["test"]}), State="DISABLED")
    events.put_rule(Name="nightly", ScheduleExpression="rate(1 day)")
    transformer = {"InputPathsMap": {"who": "$.detail.who"}, "InputTemplate": '"from <who>"'}
    events.put_targets(
        Rule="ours",
        Targets=[
            {"Id": "mail", "Arn": topic, "InputTransformer": transformer},
            {"Id": "gone", "Arn": gone, "DeadLetterConfig": {"Arn": letter_queue}},
        ],
    )
    for rule in ("off", "nightly"):
        events.put_targets(Rule=rule, Targets=[{"Id": "mail", "Arn": topic}])
    events.put_events(Entries=[{"Source": "test", "DetailType": "Test", "Detail": '{"who": "ann"}'}])

    (letter,) = aws.wait_until(lambda: letters(aws))
    assert letter["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "RESOURCE_NOT_FOUND"
    assert json.loads(letter["Body"])["detail"] == {"who": "ann"}
    assert [email.body for email in aws.emails() if email.to == "ann@example.com"] == ['"from ann"']


@pytest.mark.parametrize("subject", ["x" * 100, "two\nlines", "Ümlaut"])
def test_subjects_that_sns_refuses_are_refused(aws: Any, subject: str) -> None:
    topic = aws.client("sns").create_topic(Name="mail")["TopicArn"]
    with pytest.raises(aws.client("sns").exceptions.InvalidParameterException):
        aws.client("sns").publish(TopicArn=topic, Message="m", Subject=subject)
