"""Run Lambda functions: invocations, warm processes, asynchronous retries, dead letters."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.awslambda.models import LambdaFunction

from local.delivery.background import Background
from local.delivery.dead_letters import send_dead_letter
from local.delivery.log_streams import LogStreams
from local.iam.credentials import Credentials
from local.lambdas.process import Configuration, FunctionExit, FunctionProcess, FunctionTimeout, unpack
from local.moto.hooks import Hooks

ASYNC_ATTEMPTS = 3  # one and two retries, unless the function's event invoke configuration says otherwise
BACKOFF_SECONDS = (0.5, 1.0)  # AWS waits one minute, then two
CONCURRENCY = 4  # processes of one function at a time


@dataclass(frozen=True, kw_only=True)
class Invocation:
    request_id: str
    payload: str  # JSON
    error: bool
    log_tail: str = ""
    died: bool = False  # its process was gone before it could answer

    @property
    def error_message(self) -> str:
        return str(json.loads(self.payload).get("errorMessage", "")) if self.error else ""


class LambdaRuntime:
    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        logs: LogStreams,
        log: Callable[[str], None],
        credentials: Credentials,
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._logs = logs
        self._credentials = credentials
        self._idle: list[FunctionProcess] = []
        self._busy: list[FunctionProcess] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._async = Background("lambda", 8, log)

    def install(self, hooks: Hooks) -> None:
        hooks.replace(LambdaFunction, "invoke", lambda function, *args: self._answer_request(function, *args))

    def _answer_request(self, function: LambdaFunction, body: Any, headers: Any, response_headers: Any) -> str | bytes:
        """Replace moto's LambdaFunction.invoke, which knows one kind of invocation."""
        event = json.loads(body) if body else {}
        kind = headers.get("x-amz-invocation-type") or headers.get("X-Amz-Invocation-Type") or "RequestResponse"
        if kind == "DryRun":
            return ""
        if kind == "Event":
            self.invoke_async(function, event)
            return ""
        invocation = self.invoke(function, event)
        response_headers["x-amz-executed-version"] = "$LATEST"
        response_headers["x-amz-log-result"] = base64.b64encode(invocation.log_tail.encode()[-4096:]).decode()
        if invocation.error:
            response_headers["x-amz-function-error"] = "Unhandled"
        return invocation.payload.encode()

    def invoke_async(self, function: LambdaFunction, event: Any) -> str:
        request_id = str(uuid.uuid4())
        self._async.submit(self._deliver, function, event, request_id)
        return request_id

    def _deliver(self, function: LambdaFunction, event: Any, request_id: str) -> None:
        attempts = 1 + int(invoke_config(function).get("MaximumRetryAttempts", ASYNC_ATTEMPTS - 1))
        for attempt in range(1, attempts + 1):
            invocation = self.invoke(function, event, request_id)
            if not invocation.error or self._closed.is_set():
                return
            if attempt < attempts:
                pause = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS)) - 1]
                # In AWS's minute a lock ends that the dead process held until its deadline; here it must not be sooner.
                self._closed.wait(pause + (int(function.timeout) if invocation.died else 0))
        self._give_up(function, event, invocation, attempts)

    def _give_up(self, function: LambdaFunction, event: Any, invocation: Invocation, attempts: int) -> None:
        """Send the unchanged event to the dead-letter queue, and Lambda's envelope to a failure destination."""
        queue = (getattr(function, "dead_letter_config", None) or {}).get("TargetArn")
        if queue:
            attributes = {
                "RequestID": ("String", invocation.request_id),
                "ErrorCode": ("Number", "200"),
                "ErrorMessage": ("String", invocation.error_message[:1024] or "error"),
            }
            send_dead_letter(queue, json.dumps(event), attributes)
        on_failure = (invoke_config(function).get("DestinationConfig") or {}).get("OnFailure") or {}
        destination = on_failure.get("Destination")
        if destination:
            send_dead_letter(destination, json.dumps(envelope(function, event, invocation, attempts)), {})

    def invoke(self, function: LambdaFunction, event: Any, request_id: str | None = None) -> Invocation:
        request_id = request_id or str(uuid.uuid4())
        process = self._acquire(function)
        process.lines.clear()
        started = time.monotonic()
        process.log.write(f"START RequestId: {request_id} Version: $LATEST")
        died = False
        try:
            answer = process.start()
            if "error" not in answer:
                answer = process.call(event, request_id)
        except FunctionTimeout:
            message = f"RequestId: {request_id} Error: Task timed out after {process.configuration.timeout:.2f} seconds"
            process.log.write(message)
            answer = {"error": {"errorType": "Sandbox.Timedout", "errorMessage": message}}
        except FunctionExit:
            died = True
            message = f"RequestId: {request_id} Error: Runtime exited without providing a reason"
            answer = {"error": {"errorType": "Runtime.ExitError", "errorMessage": message}}
        finally:
            self._release(process)
        milliseconds = (time.monotonic() - started) * 1000
        process.log.write(f"END RequestId: {request_id}")
        process.log.write(f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms")
        payload = answer["result"] if "result" in answer else json.dumps(answer["error"])
        tail = "\n".join(process.lines)
        return Invocation(request_id=request_id, payload=payload, error="error" in answer, log_tail=tail, died=died)

    def kill(self, name: str) -> int:
        """End the busy processes of the function, as if their machines failed. Return their number."""
        with self._changed:
            processes = [process for process in self._busy if process.configuration.name == name]
        for process in processes:
            process.close()
        return len(processes)

    def _acquire(self, function: LambdaFunction) -> FunctionProcess:
        """Return an idle process with this code and configuration, or start one; wait if the limit is reached."""
        wanted = configuration_of(function)
        limit = min(CONCURRENCY, int(function.reserved_concurrency or CONCURRENCY))
        with self._changed:
            while True:
                if self._closed.is_set():
                    raise RuntimeError("the embedded AWS is being stopped")
                self._drop_stale(wanted)
                for process in self._idle:
                    if process.configuration == wanted:
                        self._idle.remove(process)
                        break
                else:
                    if sum(busy.configuration.arn == wanted.arn for busy in self._busy) >= limit:
                        self._changed.wait()
                        continue
                    process = self._new(function, wanted)
                self._busy.append(process)
                return process

    def _new(self, function: LambdaFunction, wanted: Configuration) -> FunctionProcess:
        version = wanted.code_sha256.replace("/", "_").replace("+", "-").rstrip("=")
        code = unpack(function.code_bytes, self._folder / "functions" / f"{wanted.name}-{version[:16]}")
        aws = {**self._environment, **self._credentials(function.role, wanted.name)}
        return FunctionProcess(wanted, code, self._folder, self._logs, aws)

    def _drop_stale(self, wanted: Configuration) -> None:
        """Close idle processes that run outdated code or configuration, or that have ended."""
        for process in list(self._idle):
            outdated = process.configuration.arn == wanted.arn and process.configuration != wanted
            if outdated or not process.alive:
                self._idle.remove(process)
                process.close()

    def _release(self, process: FunctionProcess) -> None:
        with self._changed:
            self._busy.remove(process)
            if process.alive:
                self._idle.append(process)
            self._changed.notify_all()

    def close(self) -> None:
        self._closed.set()
        with self._changed:
            processes = self._idle + self._busy
            self._changed.notify_all()
        for process in processes:
            process.close()
        self._async.close()


def configuration_of(function: LambdaFunction) -> Configuration:
    logging = getattr(function, "logging_config", None) or {}
    return Configuration(
        name=function.function_name,
        arn=function.function_arn,
        code_sha256=function.code_sha_256,
        handler=function.handler or "",
        runtime=function.run_time or "",
        memory=int(function.memory_size),
        timeout=int(function.timeout),
        log_group=logging.get("LogGroup") or f"/aws/lambda/{function.function_name}",
        variables=tuple(sorted(function.environment_vars.items())),
    )


def invoke_config(function: LambdaFunction) -> dict[str, Any]:
    return function.event_invoke_config[0].response() if function.event_invoke_config else {}


def envelope(function: LambdaFunction, event: Any, invocation: Invocation, attempts: int) -> dict[str, Any]:
    return {
        "version": "1.0",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "requestContext": {
            "requestId": invocation.request_id,
            "functionArn": f"{function.function_arn}:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": json.loads(invocation.payload),
    }
