"""Options of a stage: a frozen dataclass whose field comments are the help, filled from four places.

The command line wins over PARAM_<NAME>, that over parameters.json (PARAMETERS_FILE), that over the default.
"""

import argparse
import difflib
import inspect
import json
import math
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from splatkit.errors import StageError, input_error

Options = TypeVar("Options")


def read_options(
    kind: type[Options], description: str, arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> Options:
    """Raises StageError (input_error) naming the option, what was given and what is allowed."""
    parser = _parser(kind, description)
    given = vars(parser.parse_args(arguments))
    from_file = _parameters_file(environment)
    _refuse_unknown(kind, from_file)
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        parameter, folder = f"PARAM_{field.name.upper()}", field.name.upper()
        if given[field.name] is not None:
            values[field.name] = _value(field, given[field.name], _flag(field.name))
        elif parameter in environment:
            values[field.name] = _value(field, environment[parameter], parameter)
        elif field.name in from_file:
            values[field.name] = _value(field, from_file[field.name], f"parameters.json, {field.name}")
        elif field.metadata.get("environment") and environment.get(folder):
            values[field.name] = _value(field, environment[folder], folder)
    try:
        return kind(**values)
    except ValueError as problem:
        raise input_error("bad_option", str(problem), "Correct the option; --help lists them all.") from problem
    except TypeError as problem:
        missing = [f.name for f in fields(kind) if f.name not in values and _required(f)]  # type: ignore[arg-type]
        if not missing:
            raise
        ways = ", ".join(f"{_flag(name)} (or {name.upper()} in the environment)" for name in missing)
        raise input_error("missing_option", f"{ways} not given", "Give it.") from problem


def _parser(kind: type, description: str) -> argparse.ArgumentParser:
    epilog = "Each option can also come as PARAM_<NAME> in the environment or by its name in the file PARAMETERS_FILE."
    parser = argparse.ArgumentParser(description=description, epilog=epilog, allow_abbrev=False)
    comments = _comments(kind)
    for field in fields(kind):
        text, default = comments[field.name], "" if _required(field) else f" (default: {field.default})"
        choices = f" [{', '.join(map(str, _choices(field)))}]" if _choices(field) else ""
        help_text = f"{text}{choices}{default}".replace("%", "%%")
        switch = {"nargs": "?", "const": "true"} if _plain_type(field) is bool else {}
        metavar = _plain_type(field).__name__.upper()
        parser.add_argument(_flag(field.name), dest=field.name, metavar=metavar, help=help_text, **switch)  # type: ignore[arg-type]
    return parser


def _comments(kind: type) -> dict[str, str]:
    """The comment behind each field, and the comment lines directly above it."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        if match := re.match(r"\s+(\w+): [^#]*(?:#\s*(.*))?$", line):
            found[match[1]] = " ".join([*above, match[2] or ""]).strip()
            above = []
        elif match := re.match(r"\s+#\s*(.*)$", line):
            above.append(match[1])
    return found


def _parameters_file(environment: Mapping[str, str]) -> dict[str, Any]:
    path = environment.get("PARAMETERS_FILE")
    if not path or not Path(path).is_file():
        return {}
    try:
        values = json.loads(Path(path).read_text())
    except ValueError as problem:
        raise input_error("bad_parameters", f"{path} is not JSON: {problem}", "Give an object of options.") from problem
    if not isinstance(values, dict):
        raise input_error("bad_parameters", f"{path} holds a {type(values).__name__}", "Give an object of options.")
    return {name.lower().replace("-", "_"): value for name, value in values.items()}


def _refuse_unknown(kind: type, names: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(kind) if not field.metadata.get("environment")]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            fix = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
            raise input_error("unknown_parameter", f"the parameter {name!r} is none of this stage's", fix)


def _value(field: Field[Any], given: Any, source: str) -> Any:
    wanted, text = _plain_type(field), str(given).strip()
    allowed = {bool: "true or false", int: "a whole number", float: "a number"}.get(wanted, "text")
    try:
        if choices := _choices(field):
            allowed = "one of " + ", ".join(map(str, choices))
            return {str(choice): choice for choice in choices}[text]
        if wanted is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        value = wanted(text)
    except (ValueError, KeyError):
        raise _bad_value(source, given, allowed) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise _bad_value(source, given, "a finite number")
    return value


def _bad_value(source: str, given: Any, allowed: str) -> StageError:
    return input_error("bad_option", f"{source} is {given!r}; allowed is {allowed}", f"Give {allowed}.")


def _choices(field: Field[Any]) -> tuple[Any, ...]:
    return typing.get_args(field.type) if typing.get_origin(field.type) is Literal else ()


def _plain_type(field: Field[Any]) -> type:
    """int of `int` and of `int | None`; the type of the first choice of a Literal."""
    if _choices(field):
        return type(_choices(field)[0])
    if isinstance(field.type, types.UnionType):
        return next(part for part in typing.get_args(field.type) if part is not type(None))
    return typing.cast(type, field.type)


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
