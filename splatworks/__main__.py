"""`splatworks` and `python -m splatworks`."""

import sys


def main() -> None:
    try:
        from splatworks.cli.app import run
    except ModuleNotFoundError as missing:
        if missing.name and missing.name.split(".")[0] in ("boto3", "botocore", "fastjsonschema", "rich", "typer"):
            sys.exit(f"error: {missing.name} is not installed. The command line needs: pip install 'splatworks[cli]'")
        raise
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
