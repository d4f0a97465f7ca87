"""An e-mail about a job or a run, composed from its template in splatworks/report/templates/."""

from dataclasses import dataclass
from pathlib import Path

from splatworks.contract.template import read_template, render

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class StoredFile:
    """An object of the output bucket that an e-mail refers to; it is written before the e-mail is sent."""

    key: str
    text: str
    content_type: str


@dataclass(frozen=True)
class Email:
    subject: str
    body: str
    succeeded: bool
    files: tuple[StoredFile, ...] = ()


def compose(name: str, view: object, *, succeeded: bool, files: tuple[StoredFile, ...] = ()) -> Email:
    """Fill the template of this name from the fields of a dataclass."""
    subject, body = render(read_template(TEMPLATES / f"{name}.txt"), view)
    return Email(subject, body, succeeded, files)
