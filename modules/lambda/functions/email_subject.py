"""SNS takes a subject of fewer than 100 ASCII characters on one line, and fails the whole publish otherwise."""

import re
import unicodedata

LIMIT = 99


def subject_line(text: str) -> str:
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    one_line = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", ascii_text).split())
    return one_line if len(one_line) <= LIMIT else f"{one_line[: LIMIT - 3]}..."
