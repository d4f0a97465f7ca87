"""reuse/<content key>.json: where the result with this content key is. A runner writes it after a stage is done."""

from dataclasses import dataclass

from splatworks.contract.documents.codec import from_json_leniently, parse


@dataclass(frozen=True, kw_only=True)
class ReuseEntry:
    output_prefix: str = ""


def read_reuse(text: bytes | str, where: str) -> ReuseEntry:
    """Raises DocumentError if it is not a JSON object. A prefix of the wrong type is empty."""
    return from_json_leniently(ReuseEntry, parse(text, where))
