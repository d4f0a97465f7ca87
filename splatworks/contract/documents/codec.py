"""Between JSON and frozen dataclasses: types checked, unknown fields ignored, absent ones their default."""

import contextlib
import dataclasses
import json
import types
import typing
from functools import cache
from typing import Any, TypeVar

from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.failures import Failure, FailureError
from splatworks.contract.stage import MAX_NUMBER

T = TypeVar("T")
LONGEST_PROBLEM = 500  # characters of an error that may repeat what a document holds
NUMBERS = (int, float)

# What to do about a document that is newer than its reader; each program names its own.
PUSH_THE_IMAGE = "Push the image of the platform's version: docker/build-and-push.sh"
APPLY = "Run terraform apply from the version that wrote it"
INSTALL = "Install the platform's version of splatworks"


class DocumentError(FailureError):
    """A document that cannot be read: not JSON, or a field is missing or has the wrong type."""

    ended = "runner_error"

    def __init__(self, where: str, what: str, fix: str = "") -> None:
        fix = fix or "The platform writes it: deploy functions and images of one version, and publish the message again"
        what = what if len(what) <= LONGEST_PROBLEM else f"{what[:LONGEST_PROBLEM]}… ({len(what)} characters)"
        super().__init__("bad_document", f"{where} {what}", fix)


class NewerDocumentError(DocumentError):
    """A document of a later version than this program reads: exit code 2, as a retry reads it no better."""

    exit_code = ExitCode.INPUT_ERROR
    ended = "input_error"


def read(kind: type[T], version: int, text: bytes | str, where: str, if_newer: str = "", *, lenient: bool = False) -> T:
    """Read a document. Raises DocumentError if it is not a JSON object of this version, or as from_json does.

    `where` names the object in errors, `if_newer` says what to do about a later version.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(where, f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DocumentError(where, f"holds a {type(value).__name__}, not a JSON object")
    found = value.get("version", 0)
    if type(found) is not int or found != version:
        check_version(value, version, where, if_newer)
    return from_json(kind, value, where, lenient=lenient)


def check_version(document: dict[str, Any], version: int, where: str, if_newer: str) -> None:
    found = document.get("version", 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise DocumentError(where, f"has version {found!r}, not a whole number")
    if found > version:
        raise NewerDocumentError(where, f"has version {found}; this program reads up to version {version}", if_newer)
    if found < version - 1:
        raise DocumentError(where, f"has version {found}; this program reads versions {version - 1} and {version}")


def from_json(kind: type[T], value: Any, where: str, *, lenient: bool = False) -> T:
    """Make a dataclass of a JSON object. Raises DocumentError that names the field.

    `lenient` is for what users' scripts write: a field of the wrong type is its default. All fields must have one.
    """
    if not isinstance(value, dict):
        raise DocumentError(where, f"holds {value!r}, not an object")
    values = {}
    tolerated = contextlib.suppress(DocumentError) if lenient else contextlib.nullcontext()
    for field in _fields(typing.cast(Any, kind)):
        given: Any = value.get(field.name)
        if given is None and field.has_default and (field.name not in value or not field.is_optional):
            continue  # absent, or null in place of a list or an object
        if type(given) in field.types and (type(given) not in NUMBERS or -MAX_NUMBER < given < MAX_NUMBER):
            values[field.name] = given
            continue
        with tolerated:
            place = f"{where.rstrip(',')}, {field.name}" if where else field.name
            if field.nested and type(given) is dict:
                values[field.name] = from_json(field.nested, given, f"{place},")
            elif field.entries and type(given) is list:
                entries = [from_json(field.entries, each, f"{place}[{i}],") for i, each in enumerate(given)]
                values[field.name] = tuple(entries)
            elif field.items and type(given) is list and field.items.issuperset(map(type, given)):
                values[field.name] = tuple(given)
            else:
                values[field.name] = _convert(field.hint, given, where, field.name, field.name in value)
    return kind(**values)


def to_json(document: Any, version: int | None = None) -> dict[str, Any]:
    """The JSON object of a dataclass, with its version first."""
    head = {} if version is None else {"version": version}
    return head | dataclasses.asdict(document)


def to_bytes(document: dict[str, Any] | list[dict[str, Any]]) -> bytes:
    # Without ASCII escapes: with them a message in Cyrillic would be three times as long.
    return json.dumps(document, indent=1, ensure_ascii=False).encode(errors="surrogatepass")


class _Shape(typing.NamedTuple):
    """How a value with this type hint is read."""

    types: frozenset[Any]  # values of these types need no conversion
    items: frozenset[Any]  # of a tuple: entries of these types need no conversion
    nested: Any  # the dataclass that an object is read as, or None
    entries: Any  # of a tuple: the dataclass that an entry is read as, or None
    is_optional: bool


class _Field(typing.NamedTuple):
    name: str
    hint: Any
    has_default: bool
    types: frozenset[Any]  # these as in _Shape
    items: frozenset[Any]
    nested: Any
    entries: Any
    is_optional: bool


@cache
def _fields(kind: Any) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    return tuple(
        [
            _Field(
                each.name,
                hints[each.name],
                each.default is not missing or each.default_factory is not missing,
                *_shape(hints[each.name]),
            )
            for each in dataclasses.fields(kind)
        ]
    )


@cache
def _shape(hint: Any) -> _Shape:
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    origins = {typing.get_origin(part) or part for part in parts}
    plain = origins & {str, bool, int, float, dict, type(None)}
    nested = [part for part in parts if dataclasses.is_dataclass(part) and part is not Failure]
    entry = [_shape(typing.get_args(part)[0]) for part in parts if typing.get_origin(part) is tuple]
    return _Shape(
        types=frozenset(plain | ({int} if float in plain else set())),
        items=entry[0].types if entry else frozenset(),
        nested=nested[0] if nested else None,
        entries=entry[0].nested if entry else None,
        is_optional=hint is Any or type(None) in parts,
    )


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
        return from_json(typing.cast(type, origin), value, f"{where.rstrip(',')}, {name}," if where else name)
    if _is_a(value, origin):
        return value
    expected = "list" if origin is tuple else getattr(origin, "__name__", origin)
    raise DocumentError(where, f"has {name} {str(value)[:80]!r}, not a {expected}")


def _is_a(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        return is_number and _is_finite(value)
    return isinstance(value, kind)


def _is_finite(value: Any) -> bool:
    """Whether sums and formats take it, if it is a number: not NaN, not infinite, no integer of hundreds of digits."""
    return type(value) not in NUMBERS or -MAX_NUMBER < value < MAX_NUMBER
