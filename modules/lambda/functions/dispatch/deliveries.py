"""What comes in: a message on the trigger topic here, an upload that stands for one in upload_events.py."""

import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass

from splatworks.planning.message import Request, parse
from splatworks.planning.settings import DispatcherSettings


@dataclass
class Delivery(ABC):
    """One message that asks for work, until it is started or refused."""

    identity: str  # the same each time that it is delivered
    text: str  # of the message, as far as it is known

    @abstractmethod
    def read(self) -> Request:
        """Raises BadInputError where the message is at fault."""

    @abstractmethod
    def attributes(self) -> dict[str, str]:
        """Where it came from, as attributes of a dead letter."""

    @abstractmethod
    def described(self) -> str:
        """A noun for an e-mail that shows the text."""

    @abstractmethod
    def how_to_repeat(self, settings: DispatcherSettings) -> str:
        """For people who have corrected what was wrong."""


class SnsDelivery(Delivery):
    def read(self) -> Request:
        return parse(self.text, self.identity)

    def attributes(self) -> dict[str, str]:
        return {"sns_message_id": self.identity}

    def described(self) -> str:
        return f"The message (SNS message id {self.identity})"

    def how_to_repeat(self, settings: DispatcherSettings) -> str:
        topic = shlex.quote(settings.trigger_topic_arn)
        return f"""Then publish it again:

  aws sns publish --topic-arn {topic} --message '<the corrected message>'"""
