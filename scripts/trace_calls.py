"""Count the calls of the project's functions behind one message and one e-mail.

    python scripts/trace_calls.py [--root CHECKOUT]

Runs one splat_pipeline message through the dispatcher and the success event of its last stage through the monitor,
against moto, with the fixtures of tests/unit/lambda. Counts the calls that sys.setprofile reports in every thread, in
files of the project outside tests/. Frames of generator expressions (each time they resume), lambdas and, before Python
3.12, comprehensions are counted apart, as they belong to the function that holds them. Imports do not count. Both
handlers run once before, so that clients and caches exist, as in a warm Lambda function; --cold leaves that out.
CHECKOUT may be an older version.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".", "modules/lambda/functions", "modules/lambda", "jobs", "docker", "tests/unit/lambda")
MOST_CALLED = 10
STAGES = ("sfm", "train", "compress")

Calls = Counter[tuple[str, str]]  # by file and function


class CallCounter:
    """Counts calls while it is entered."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}{os.sep}"
        self._left_out = tuple(f"{root}{os.sep}{folder}{os.sep}" for folder in ("tests", ".venv", "scripts"))
        self.calls: Calls = Counter()

    def __enter__(self) -> Calls:
        threading.setprofile(self._count)
        sys.setprofile(self._count)
        return self.calls

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _count(self, frame: Any, event: str, _argument: Any) -> None:
        code = frame.f_code
        name: str = code.co_filename
        is_own = name.startswith(self._root) and not name.startswith(self._left_out)
        if event == "call" and is_own and code.co_name != "<module>":
            self.calls[name.removeprefix(self._root), code.co_qualname] += 1


def trace(root: Path, *, cold: bool) -> None:
    """Print the calls of one message and one e-mail of the checkout that is on the path."""
    import pytest
    from lambda_platform import _started_platform, forget_records
    from pipeline_run import MESSAGE, PipelineRun

    def publish(platform: Any, title: str) -> None:
        message = json.loads(json.dumps(MESSAGE))
        message["data"] |= {"request_id": title, "train": {"parameters": {"seed": len(title)}}}
        answer = platform.dispatch(message)
        if "run_id" not in answer:
            raise SystemExit(f"the dispatcher refused the message: {answer}")

    def report(run: Any) -> None:
        run.platform.monitor(run.succeeds())
        subject, _ = run.platform.email()
        if "is done" not in subject:
            raise SystemExit(f"the e-mail is about something else: {subject}")

    with pytest.MonkeyPatch.context() as monkeypatch, _started_platform(monkeypatch) as platform:
        platform.put("demo-input", "photos/harbour/1.jpg")
        run = PipelineRun(platform)
        run.plan(*STAGES)
        run.install()
        if not cold:
            publish(platform, "warm")
            report(run)
            forget_records()  # or the same run would not be reported twice
        _print_calls("message", root, lambda: publish(platform, "traced"))
        _print_calls("e-mail", root, lambda: report(run))


def _print_calls(title: str, root: Path, work: Callable[[], None]) -> None:
    with CallCounter(root) as calls:
        work()
    named = Counter({(file, function): count for (file, function), count in calls.items() if function[-1] != ">"})
    files = {file for file, _ in named}
    inner = calls.total() - named.total()
    print(f"{title}: {len(files)} files, {len(named)} functions, {named.total()} calls, and {inner} inner frames")
    for (file, function), count in named.most_common(MOST_CALLED):
        print(f"  {count:>4}  {function}  ({file})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to trace; default: this one")
    parser.add_argument("--cold", action="store_true", help="trace the first call of each function")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # the process with that path
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    if arguments.inside:
        trace(root, cold=arguments.cold)
        return 0
    path = os.pathsep.join(str(root / folder) for folder in FOLDERS)
    command = [sys.executable, __file__, "--inside", "--root", str(root), *(["--cold"] if arguments.cold else [])]
    return subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": path}).returncode  # noqa: S603 itself


if __name__ == "__main__":
    sys.exit(main())
