"""scripts/trace_calls.py: what one message and one e-mail pass through stays few enough to read."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
MOST = {"message": (88, 175), "e-mail": (70, 170)}  # functions and calls


def test_one_message_and_one_email_are_counted_and_keep_to_their_limits() -> None:
    script = ROOT / "scripts" / "trace_calls.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    pattern = r"^(message|e-mail): \d+ files, (\d+) functions, (\d+) calls"
    found = re.findall(pattern, done.stdout, re.MULTILINE)
    counts = {title: (int(functions), int(calls)) for title, functions, calls in found}
    assert counts.keys() == MOST.keys()
    for title, (functions, calls) in counts.items():
        most_functions, most_calls = MOST[title]
        assert 30 < functions <= most_functions, title
        assert 50 < calls <= most_calls, title
    assert "tests/" not in done.stdout
