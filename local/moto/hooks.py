"""Replace attributes of moto's classes, and restore them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


class Hooks:
    """Replaced attributes of moto's classes. They are global to the process, hence `restore`."""

    def __init__(self) -> None:
        self._originals = ExitStack()

    def replace(self, owner: Any, name: str, replacement: Any) -> None:
        if name in vars(owner):
            self._originals.callback(setattr, owner, name, vars(owner)[name])
        else:
            self._originals.callback(delattr, owner, name)
        setattr(owner, name, replacement)

    def wrap(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Run `wrapper(original, *args)` instead of `original(*args)`."""
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return wrapper(original, *args, **kwargs)

        self.replace(owner, name, wrapped)

    def on_restore(self, undo: Callable[..., Any], *args: Any) -> None:
        self._originals.callback(undo, *args)

    def restore(self) -> None:
        self._originals.close()
