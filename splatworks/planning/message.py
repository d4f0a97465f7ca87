"""From the text of an SNS message to a Request, or to a BadInputError that says what is wrong with it."""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import fastjsonschema

from splatworks.contract.message_schema import message_schema
from splatworks.planning.bad_input import BadInputError, format_value, nearest
from splatworks.planning.places import other_place

DEPTH_LIMIT = 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """A message that the schema allows."""

    identity: str  # data.request_id, else the SNS message id: one identity runs once
    trigger_type: str
    data: dict[str, Any]
    metadata: dict[str, str]
    published: dict[str, Any]  # the complete message as it came, to be run again

    def derive(self, trigger_type: str, data: dict[str, Any]) -> "Request":
        """The same request put in the words of another trigger, checked by the schema as if it had been published."""
        check({"trigger_type": trigger_type, "data": data})
        return replace(self, trigger_type=trigger_type, data=data)


def parse(text: str, message_id: str) -> Request:
    message = strict_json(text)
    if not isinstance(message, dict):
        raise _not_json(format_value(message), 'Send {"trigger_type": …, "data": {…}}.')
    check(message)
    data = message["data"]
    request_id = data.get("request_id")
    return Request(
        identity=request_id if isinstance(request_id, str) and request_id else message_id,
        trigger_type=message["trigger_type"],
        data=data,
        metadata=message.get("metadata", {}),
        published=message,
    )


def strict_json(text: str) -> Any:
    """Read JSON; refuse a name given twice, NaN, and anything that cannot be written back."""
    try:
        value = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant, parse_float=_finite
        )
        json.dumps(value, ensure_ascii=False).encode()
    except BadInputError:
        raise
    except RecursionError:
        raise _not_json("nested too deeply", f"Nest at most {DEPTH_LIMIT} levels.") from None
    except UnicodeEncodeError:
        raise _not_json("half of a surrogate pair", "Send valid Unicode text.") from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno} column {error.colno}"
        raise _not_json(
            f"{format_value(text)} ({where})", "Check quotes and commas; in a shell put the message in single quotes."
        ) from None
    except ValueError:  # Python reads no integer of more than 4300 digits
        raise _not_json("a number of thousands of digits", "Send a number of a sensible size.") from None
    if _depth(value) > DEPTH_LIMIT:
        raise _not_json("nested too deeply", f"Nest at most {DEPTH_LIMIT} levels.")
    return value


def check(message: dict[str, Any]) -> None:
    try:
        _validator()(message)
    except fastjsonschema.JsonSchemaValueException as error:
        raise _explained(error, message) from None


@functools.cache
def _validator() -> Callable[[Any], Any]:
    # Powertools' validate() is this library too, but compiles the schema anew for each message.
    validator: Callable[[Any], Any] = fastjsonschema.compile(message_schema())
    return validator


def _explained(error: fastjsonschema.JsonSchemaValueException, message: dict[str, Any]) -> BadInputError:
    field = (error.name or "data").removeprefix("data").removeprefix(".") or "message"
    if error.rule in ("required", "additionalProperties"):
        return _wrong_fields(field, error.value, error.definition, str(message.get("trigger_type")))
    expected = error.rule_definition if error.rule == "propertyNames" else error.definition
    return BadInputError(
        field=field[:120],
        given=format_value(error.value),
        allowed=expected.get("description", f"{error.rule} {error.rule_definition}"),
        fix="Correct the field and publish the message again.",
    )


def _wrong_fields(field: str, value: dict[str, Any], definition: dict[str, Any], trigger_type: str) -> BadInputError:
    """An unknown name comes first: a missing field is often one that was misspelt."""
    known = list(definition["properties"])
    prefix = "" if field == "message" else f"{field}."
    for name in value:
        if name not in known:
            return BadInputError(
                field=f"{prefix}{name}"[:120],
                given=format_value(value[name]),
                allowed=f"the fields {', '.join(known)}",
                fix=other_place(name, prefix, trigger_type, str(value.get("script_key", "")))
                or f"There is no field {format_value(name)}. {nearest(name, known)}",
            )
    missing = next(name for name in definition["required"] if name not in value)
    what = definition["properties"][missing].get("description", "")
    return BadInputError(
        field=f"{prefix}{missing}", given="nothing", allowed=what, fix=f"Add {missing}, it is required."
    )


def _not_json(given: str, fix: str) -> BadInputError:
    return BadInputError(field="message", given=given, allowed="one JSON object", fix=fix)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadInputError(
                field=name[:120],
                given=f"{format_value(found[name])} and {format_value(value)}",
                allowed="each name once",
                fix="Remove one of the two.",
            )
        found[name] = value
    return found


def _depth(value: Any) -> int:
    """Levels of nesting, without recursion of our own."""
    depth, level = 0, [value]
    while level:
        depth += 1
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _no_constant(name: str) -> NoReturn:
    raise _not_json(name, "JSON has no such number; send a finite one.")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _not_json(format_value(text), "Send a number of a sensible size.")
    return number
