"""result.json: what a script says about its end. Users' scripts may write one too, in whatever shape."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from splatworks.contract.documents.codec import read, to_json
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


# Fields of a wrong type are empty.
read_result = partial(read, ResultDocument, VERSION, lenient=True)


def result_json(result: ResultDocument) -> dict[str, Any]:
    return to_json(result, VERSION)
