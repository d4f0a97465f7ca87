"""reuse/<content key>.json: where the result with this content key is."""

from dataclasses import dataclass
from functools import partial

from splatworks.contract.documents.codec import read, to_bytes, to_json

VERSION = 0  # the file has no `version`


@dataclass(frozen=True, kw_only=True)
class ReuseEntry:
    output_prefix: str


read_reuse_entry = partial(read, ReuseEntry, VERSION)


def write_reuse_entry(entry: ReuseEntry) -> bytes:
    return to_bytes(to_json(entry))
