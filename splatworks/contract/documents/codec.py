"""Between JSON and frozen dataclasses: types checked, unknown fields ignored, absent ones their default."""

import dataclasses
import json
import types
import typing
from functools import cache
from typing import Any, TypeVar

from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import Failure, FailureError

T = TypeVar("T")
PLAIN = (str, int, float, dict, type(None))  # in JSON as they are

# What to do about a document that is newer than its reader; each program names its own.
PUSH_THE_IMAGE = "Push the image of the platform's version: docker/build-and-push.sh"
APPLY = "Run terraform apply from the version that wrote it"
INSTALL = "Install the platform's version of splatworks"


class DocumentError(FailureError):
    """A document that cannot be read: not JSON, or a field is missing or has the wrong type."""

    ended = "runner_error"

    def __init__(self, where: str, what: str, fix: str = "") -> None:
        fix = fix or "The platform writes it: deploy functions and images of one version, and publish the message again"
        super().__init__("bad_document", f"{where} {what}", fix)


class NewerDocumentError(DocumentError):
    """A document of a later version than this program reads: exit code 2, as a retry reads it no better."""

    exit_code = ExitCode.INPUT_ERROR
    ended = "input_error"


def parse(text: bytes | str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(where, f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DocumentError(where, f"holds a {type(value).__name__}, not a JSON object")
    return value


def check_version(document: dict[str, Any], version: int, where: str, if_newer: str) -> None:
    found = document.get("version", 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise DocumentError(where, f"has version {found!r}, not a whole number")
    if found > version:
        raise NewerDocumentError(where, f"has version {found}; this program reads up to version {version}", if_newer)
    if found < version - 1:
        raise DocumentError(where, f"has version {found}; this program reads versions {version - 1} and {version}")


def from_json(kind: type[T], value: Any, where: str) -> T:
    """Make a dataclass of a JSON object. Raises DocumentError that names the field."""
    if not isinstance(value, dict):
        raise DocumentError(where, f"holds {value!r}, not an object")
    hints, values = _hints(typing.cast(Any, kind)), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        given = value.get(field.name)
        if given is None and field.name not in value and _has_default(field):
            continue
        if given is None and _has_default(field) and not _is_optional(hints[field.name]):
            continue  # null in place of a list or an object
        values[field.name] = _convert(hints[field.name], given, where, field.name, field.name in value)
    return kind(**values)


def from_json_leniently(kind: type[T], value: Any) -> T:
    """Like from_json for what users' scripts write: a field of the wrong type is its default. All must have one."""
    given = value if isinstance(value, dict) else {}
    hints, values = _hints(typing.cast(Any, kind)), {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in given:
            try:
                values[field.name] = _convert(hints[field.name], given[field.name], "", field.name, True)
            except DocumentError:
                continue
    return kind(**values)


def to_json(document: Any, version: int | None = None) -> dict[str, Any]:
    """The JSON object of a dataclass, with its version first."""
    head = {} if version is None else {"version": version}
    values = {field.name: getattr(document, field.name) for field in dataclasses.fields(document)}
    return head | {name: value if isinstance(value, PLAIN) else _plain(value) for name, value in values.items()}


def to_bytes(document: dict[str, Any] | list[dict[str, Any]]) -> bytes:
    # Without ASCII escapes: with them a message in Cyrillic would be three times as long.
    return json.dumps(document, indent=1, ensure_ascii=False).encode(errors="surrogatepass")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _is_optional(hint: Any) -> bool:
    return hint is Any or (isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint))


def _convert(hint: Any, value: Any, where: str, name: str, is_there: bool) -> Any:
    if hint is Any:
        return value
    if isinstance(hint, types.UnionType):
        parts = typing.get_args(hint)
        if value is None and type(None) in parts:
            return None
        (hint,) = (part for part in parts if part is not type(None))
    if value is None:
        raise DocumentError(where, f"has no {name}" if not is_there else f"has {name} null")
    origin = typing.get_origin(hint) or hint
    if origin is tuple and isinstance(value, list):
        (inner, _) = typing.get_args(hint)
        return tuple(_convert(inner, each, where, f"{name}[{index}]", True) for index, each in enumerate(value))
    if origin is Failure:
        return Failure.from_json(value)
    if dataclasses.is_dataclass(origin):
        return from_json(typing.cast(type, origin), value, f"{where}, {name}," if where else name)
    if _is_a(value, origin):
        return value
    expected = "list" if origin is tuple else getattr(origin, "__name__", origin)
    raise DocumentError(where, f"has {name} {str(value)[:80]!r}, not a {expected}")


def _is_a(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _plain(value: Any) -> Any:
    if hasattr(value, "as_json"):
        return value.as_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, tuple | list):
        return [each if isinstance(each, PLAIN) else _plain(each) for each in value]
    return value
