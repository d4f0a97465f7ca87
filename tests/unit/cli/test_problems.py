"""The errors of the command line have the one shape of cause and fix."""

import pytest

from splatworks.cli.problems import FAULT, Problem
from splatworks.cli.telling import end
from splatworks.contract.documents.codec import INSTALL, NewerDocumentError
from splatworks.contract.failures import FailureError
from splatworks.planning.bad_input import BadInputError

REFUSAL = BadInputError(field="data.steps", given='"sfm"', allowed="full or train", fix="Leave it out.")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (Problem("There is no file x.", "Give another."), 2, "error: There is no file x.\nGive another.\n"),
        (Problem("S3 is slow.", exit_code=FAULT), 1, "error: S3 is slow.\n"),
        (
            NewerDocumentError("run.json", "has version 2; this program reads up to version 1", INSTALL),
            2,
            f"error: run.json has version 2; this program reads up to version 1\n{INSTALL}\n",
        ),
        (
            REFUSAL,
            2,
            'error: the platform would refuse this message.\n  Field:    data.steps\n  Given:    "sfm"\n'
            "  Allowed:  full or train\n  To do:    Leave it out.\n",
        ),
    ],
)
def test_every_error_is_printed_by_its_cause_and_fix_and_ends_with_its_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: FailureError, code: int, text: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    assert end(error) == code
    assert capsys.readouterr().err == text


@pytest.mark.parametrize("cause", ["There is no file x", "There is no file x.", "Which file?"])
def test_the_text_of_an_error_ends_its_cause_once(cause: str) -> None:
    text = str(Problem(cause, "Give another."))

    assert text == (cause if cause[-1] in ".?" else f"{cause}.") + " Give another."
