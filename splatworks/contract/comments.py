"""The comments of a class's fields: the help of parameters and the meaning of documents' fields and exit codes."""

import enum
import functools
import inspect
import re

FIELD = re.compile(r"    (\w+)(?:: | = )[^#]*(?:#\s*(.*))?$")
COMMENT = re.compile(r"    #\s*(.*)$")


@functools.cache
def comments_of(kind: type) -> dict[str, str]:
    """By field of the class and of its bases: the comment lines directly above it and the comment after it."""
    found: dict[str, str] = {}
    classes = [kind] if issubclass(kind, enum.Enum) else reversed(kind.__mro__[:-1])
    for each in classes:
        found |= _comments_in(inspect.getsource(each))
    return found


def _comments_in(source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    above: list[str] = []
    for line in source.splitlines():
        if match := FIELD.match(line):
            found[match[1]] = " ".join([*above, match[2] or ""]).strip()
            above = []
        elif match := COMMENT.match(line):
            above.append(match[1])
    return found
