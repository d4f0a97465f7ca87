"""Run `python -m local serve | demo`, which `make local` and `make demo` call."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the platform on this machine until Ctrl-C")
    serve.add_argument("--folder", type=Path, default=Path("splatworks-local"), help="where all its files go")
    serve.add_argument("--port", type=int, default=0, help="port of the endpoint (default: a free one)")
    serve.add_argument("--concurrency", type=int, default=2, help="jobs that run at the same time (default: 2)")
    demo = commands.add_parser("demo", help="photos to a scene in the browser through the whole platform")
    demo.add_argument("--photos", type=Path, default=None, help="folder of photos (default: rendered ones)")
    demo.add_argument("--folder", type=Path, default=Path("demo-output"), help="where the results go")
    arguments = parser.parse_args()
    if arguments.command == "demo":
        from local.demo import command as demo_command

        return demo_command.main(arguments.photos, arguments.folder)
    from local import serve as serve_command

    return serve_command.main(arguments.folder, arguments.port, arguments.concurrency)


if __name__ == "__main__":
    sys.exit(main())
