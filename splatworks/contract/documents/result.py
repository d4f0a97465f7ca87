"""result.json: what a script says about its end. Users' scripts may write one too, in whatever shape."""

from dataclasses import dataclass, field
from typing import Any

from splatworks.contract.documents.codec import from_json, parse, to_json
from splatworks.contract.documents.job import DONE, FAILED, INPUT_ERROR, INTERRUPTED
from splatworks.contract.failures import Failure

VERSION = 1
STATUSES = (DONE, FAILED, INPUT_ERROR, INTERRUPTED)


@dataclass(frozen=True, kw_only=True)
class ResultDocument:
    stage: str = ""  # name of the stage
    status: str = ""  # done, failed, input_error or interrupted
    metrics: dict[str, Any] = field(default_factory=dict)  # figures by name, for e-mails, tables and programs
    error: Failure | None = None  # null if done


def read_result(text: bytes | str, where: str, if_newer: str) -> ResultDocument:
    """Raises DocumentError if it is not a JSON object or of a later version. Fields of a wrong type are empty."""
    document = parse(text, where, VERSION, if_newer)
    return from_json(ResultDocument, document, where, lenient=True)


def result_json(result: ResultDocument) -> dict[str, Any]:
    return to_json(result, VERSION)
