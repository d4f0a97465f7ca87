"""An e-mail about a job or a run, composed from its template in splatworks/report/templates/."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from splatworks.contract.template import read_template, render

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class StoredFile:
    """An object of the output bucket that an e-mail refers to; it is written before the e-mail is sent."""

    key: str
    text: str
    content_type: str


@dataclass(frozen=True, kw_only=True)
class Resume:
    """A resumption of a run that has lost its machines."""

    key: str  # of run.json, or of a batch_job's request.json
    number: int
    most: int  # auto_resume of the message
    at: datetime  # UTC


@dataclass(frozen=True)
class Email:
    subject: str
    body: str
    succeeded: bool
    files: tuple[StoredFile, ...] = ()
    resume: Resume | None = None  # what the e-mail announces


def compose(
    name: str, view: object, *, succeeded: bool, files: tuple[StoredFile, ...] = (), resume: Resume | None = None
) -> Email:
    """Fill the template of this name from the fields of a dataclass."""
    subject, body = render(read_template(TEMPLATES / f"{name}.txt"), view)
    return Email(subject, body, succeeded, files, resume)
