"""Run a function inside its process: read one JSON line per event, write one per result.

Started as `python -I -S worker.py TASK_ROOT RUNTIME_DIR REPLY_FD`: the zip first on the path, then boto3 as the
Lambda runtime brings it, and nothing else of this machine.
"""

import importlib
import json
import logging
import os
import sys
import time
import traceback
from typing import Any

END_OF_LOG = "\x00end"


class Context:
    identity = None
    client_context = None

    def __init__(self, request: dict[str, Any]) -> None:
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.invoked_function_arn = request["arn"]
        self.aws_request_id = request["request_id"]
        self._deadline_ms = request["deadline_ms"]

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(self._deadline_ms - time.time() * 1000))


def main() -> None:
    task_root, runtime, reply_fd = sys.argv[1:4]
    sys.path[:0] = [task_root, runtime]
    os.chdir(task_root)
    replies = os.fdopen(int(reply_fd), "w", buffering=1)
    set_up_logging()
    try:
        handler = load(os.environ["_HANDLER"])
    except BaseException as error:
        reply(replies, {"error": described(error, "Runtime.ImportModuleError")})
        return
    reply(replies, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        os.environ["_X_AMZN_TRACE_ID"] = request["trace_id"]
        reply(replies, handle(handler, request))


def set_up_logging() -> None:
    """Print log records of level WARNING and above with level and time, like the Lambda runtime."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(levelname)s]\t%(asctime)s\t%(message)s"))
    logging.getLogger().addHandler(handler)


def load(handler: str) -> Any:
    module, _, name = handler.rpartition(".")
    return getattr(importlib.import_module(module.replace("/", ".")), name)


def handle(handler: Any, request: dict[str, Any]) -> dict[str, Any]:
    try:
        result = handler(request["event"], Context(request))
        return {"result": json.dumps(result)}
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
            raise
        return {"error": described(error, type(error).__name__)}


def described(error: BaseException, error_type: str) -> dict[str, Any]:
    stack = traceback.format_exception(error)
    print(f"[ERROR] {error_type}: {error}\n" + "".join(stack), flush=True)
    return {"errorMessage": str(error), "errorType": error_type, "stackTrace": stack}


def reply(replies: Any, answer: dict[str, Any]) -> None:
    """Send the answer, after a mark in the log by which the parent knows that it has read all output of the event."""
    sys.stderr.flush()
    print(END_OF_LOG, flush=True)
    replies.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
