"""Typed parameters of a stage: a frozen dataclass whose annotations hold the ranges and whose comments are the help.

    levels: Annotated[int, Range(1, 8)] = 3  # levels of detail, each with half as many splats as the one before

The dispatcher checks them before anything is paid for, and the stage reads them by the same code.
"""

import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from splatworks.contract.comments import comments_of
from splatworks.contract.nearest import nearest

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Range:
    """Allowed numbers: from `least` to `most`, and the values in `also`, which stand for a default or for "none"."""

    least: float | None = None
    most: float | None = None
    also: tuple[float, ...] = ()

    def __contains__(self, value: float) -> bool:
        above = self.least is None or value >= self.least
        below = self.most is None or value <= self.most
        return (above and below) or value in self.also

    def __str__(self) -> str:
        if self.least is None or self.most is None:
            limits = f"at least {_number(self.least)}" if self.least is not None else f"at most {_number(self.most)}"
        else:
            limits = f"from {_number(self.least)} to {_number(self.most)}"
        return " or ".join([limits, *(_number(value) for value in self.also)])


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The folders of a stage: the platform sets them in the environment, the command line as options."""

    input_dir: Path = field(metadata={"environment": True})  # the stage's input
    output_dir: Path = field(metadata={"environment": True})  # results go here
    # checkpoints, from which the same command continues; default: OUT.checkpoint next to OUT
    checkpoint_dir: Path | None = field(default=None, metadata={"environment": True})
    models_dir: Path | None = field(default=None, metadata={"environment": True})  # models shared by all jobs


class ParameterError(ValueError):
    """A parameter that is unknown or whose value is not allowed. Nothing else was looked at yet."""

    def __init__(self, name: str, given: Any, allowed: str, fix: str, *, is_unknown: bool = False) -> None:
        super().__init__(f"{name} is {given!r}; allowed: {allowed}")
        self.name, self.given, self.allowed, self.fix, self.is_unknown = name, given, allowed, fix, is_unknown


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter, as the dispatcher, the command line and the docs need it."""

    name: str
    kind: type  # bool, int, float, str or Path
    default: Any
    required: bool
    range: Range | None
    choices: tuple[Any, ...]
    help: str
    is_folder: bool  # set by the platform, not by a message

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        words = WORDS.get(self.kind, "text")
        return f"{words} {self.range}" if self.range else words

    def read(self, given: Any) -> Any:
        """Read a value from JSON, the environment or a command line. Raises ParameterError."""
        text = str(given).strip()
        try:
            if self.choices:
                value = {str(choice): choice for choice in self.choices}[text]
            else:
                value = TRUTH[text.lower()] if self.kind is bool else self.kind(text)
        except (ValueError, KeyError, OverflowError):
            raise self._refused(given) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise self._refused(given)
        if self.range and value not in self.range:
            raise self._refused(given)
        return value

    def _refused(self, given: Any) -> ParameterError:
        return ParameterError(self.name, given, self.allowed, f"Give {self.allowed}.")


@functools.cache
def parameters_of(kind: type) -> dict[str, Parameter]:
    """The parameters of a dataclass by name, in the order of their definition."""
    hints = typing.get_type_hints(kind, include_extras=True)
    comments = comments_of(kind)
    return {each.name: _parameter(each, hints[each.name], comments[each.name]) for each in fields(kind)}


def check_parameters(kind: type, stage: str, given: Mapping[str, Any]) -> None:
    """Refuse unknown parameters and values out of range by ParameterError. Names count in any case."""
    known = {name: each for name, each in parameters_of(kind).items() if not each.is_folder}
    for name, value in given.items():
        parameter = known.get(name.lower())
        if parameter is None:
            fix = f"{stage} has no parameter {name}. {nearest(name.lower(), list(known))}"
            raise ParameterError(name, value, f"the parameters {', '.join(known)}", fix, is_unknown=True)
        parameter.read(value)


def _parameter(found: Field[Any], hint: Any, comment: str) -> Parameter:
    limits = None
    if typing.get_origin(hint) is typing.Annotated:
        hint, limits = typing.get_args(hint)
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    return Parameter(
        name=found.name,
        kind=type(choices[0]) if choices else _plain(hint),
        default=None if found.default is MISSING else found.default,
        required=found.default is MISSING and found.default_factory is MISSING,
        range=limits,
        choices=choices,
        help=comment,
        is_folder=bool(found.metadata.get("environment")),
    )


def _plain(hint: Any) -> type:
    """`int` of `int | None`."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return typing.cast(type, hint)


def _number(value: float | None) -> str:
    return f"{value:,.0f}".replace(",", "") if value is not None and float(value).is_integer() else f"{value:g}"
