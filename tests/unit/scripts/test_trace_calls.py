"""scripts/trace_calls.py: what one message and one e-mail pass through stays few enough to read."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
MOST_CALLS_OF_AN_EMAIL = 200


def test_one_message_and_one_email_are_counted_and_the_email_keeps_to_its_limit() -> None:
    script = ROOT / "scripts" / "trace_calls.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    pattern = r"^(message|e-mail): \d+ files, \d+ functions, (\d+) calls"
    calls = {title: int(count) for title, count in re.findall(pattern, done.stdout, re.MULTILINE)}
    assert set(calls) == {"message", "e-mail"}
    assert 50 < calls["e-mail"] <= MOST_CALLS_OF_AN_EMAIL
    assert "tests/" not in done.stdout
