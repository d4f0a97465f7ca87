"""E-mails leave through the notification topic, in the form that SNS takes: it fails the whole publish otherwise."""

import re
import unicodedata

from aws.clients import client

SUBJECT_LIMIT = 99  # ASCII characters on one line
TEXT_LIMIT = 250_000  # bytes; SNS takes 262,144 of subject and text together
# Patterns of so many characters take milliseconds to compile: at first use, not at each cold start.
NOT_TEXT = "[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


def send_email(topic_arn: str, subject: str, text: str) -> None:
    client("sns").publish(TopicArn=topic_arn, Subject=subject_line(subject), Message=_plain(text))


def subject_line(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    one_line = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", ascii_text).split())
    return one_line if len(one_line) <= SUBJECT_LIMIT else f"{one_line[: SUBJECT_LIMIT - 3]}..."


def _plain(text: str) -> str:
    clean = re.sub(NOT_TEXT, "\ufffd", text)
    return clean.encode()[:TEXT_LIMIT].decode(errors="ignore")
