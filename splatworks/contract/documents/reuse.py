"""reuse/<content key>.json: where the result with this content key is."""

from dataclasses import dataclass

from splatworks.contract.documents.codec import from_json, parse, to_bytes, to_json

VERSION = 0  # the file has no `version`


@dataclass(frozen=True, kw_only=True)
class ReuseEntry:
    output_prefix: str


def read_reuse_entry(text: bytes | str, where: str, if_newer: str) -> ReuseEntry:
    """Raises DocumentError; `where` names the object in it, `if_newer` says what to do about a later version."""
    document = parse(text, where, VERSION, if_newer)
    return from_json(ReuseEntry, document, where)


def write_reuse_entry(entry: ReuseEntry) -> bytes:
    return to_bytes(to_json(entry))
