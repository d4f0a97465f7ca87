"""What every trigger is: something that a message can start."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from splatworks.planning.message import Request
from splatworks.planning.settings import DispatcherSettings


@dataclass
class BaseTrigger(ABC):
    settings: DispatcherSettings

    @abstractmethod
    def execute(self, request: Request) -> dict[str, Any]:
        """Start what the request asks for, and return what was started as JSON can hold it.

        Raises BadInputError where the message is at fault, before anything is started; its author gets an e-mail.
        An error of AWS is not caught: Lambda tries again. A request is executed once, except after a crash: then a
        trigger must find what the interrupted call has left.
        """
