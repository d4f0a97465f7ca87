"""Write the e-mails that SNS would send to text files."""

from __future__ import annotations

import datetime
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.sns.models import Topic


@dataclass(frozen=True, kw_only=True)
class SentEmail:
    subject: str
    body: str
    to: str  # addresses, comma-separated
    path: Path
    at: datetime.datetime


class Outbox:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # A folder that is used again keeps its old e-mails; the numbers continue.
        self._number = len(list(folder.glob("*.txt")))
        self._emails: list[SentEmail] = []
        self._lock = threading.Lock()

    @property
    def emails(self) -> list[SentEmail]:
        with self._lock:
            return list(self._emails)

    def deliver(self, subscriptions: list[Any], message: str, subject: str | None) -> None:
        """Write one file per published message. Addresses count as confirmed."""
        if not subscriptions:
            return
        with self._lock:
            self._number += 1
            self._emails.append(self._write(subscriptions, message, subject or "AWS Notification Message"))

    def _write(self, subscriptions: list[Any], message: str, subject: str) -> SentEmail:
        topic: Topic = subscriptions[0].topic
        addresses = ", ".join(subscription.endpoint for subscription in subscriptions)
        at = datetime.datetime.now(datetime.UTC)
        words = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:60]
        path = self.folder / f"{self._number:04d}-{words or 'message'}.txt"
        head = f"From: {topic.display_name or 'AWS Notifications'} <no-reply@sns.amazonaws.com>\nTo: {addresses}\n"
        path.write_text(f"{head}Date: {at:%a, %d %b %Y %H:%M:%S +0000}\nSubject: {subject}\n\n{message}\n")
        return SentEmail(subject=subject, body=message, to=addresses, path=path, at=at)
