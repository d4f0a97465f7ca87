"""Write message.schema.json and the docs' tables from the contract; --check reports stale files and writes nothing.

Run it as a module from the repository: python -m scripts.contract_docs. A page marks the place of a table by
`<!-- table: NAME, written by scripts/contract_docs.py -->` and `<!-- end of table -->`.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.contract_tables import TABLES
from splatworks.contract.message_schema import message_schema

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = Path("modules/lambda/functions/message.schema.json")
BEGIN = "<!-- table: {}, written by scripts/contract_docs.py -->"
END = "<!-- end of table -->"
TABLE = re.compile(rf"{re.escape(BEGIN).replace(re.escape('{}'), '([^,]+)')}\n.*?{END}", re.DOTALL)
COMMAND = "make docs"
PARAMETERS = "docs/reference/parameters.md"
OF_STAGE = "parameters of "  # begins the name of a stage's table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the repository")
    arguments = parser.parse_args()

    stale = dict(stale_files(arguments.root))
    for path, text in stale.items():
        if arguments.check:
            print(
                f"{path.relative_to(arguments.root)} is stale: the contract has changed. Run: {COMMAND}",
                file=sys.stderr,
            )
        else:
            path.write_text(text)
    return 1 if stale and arguments.check else 0


def stale_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Each file that differs from the contract, with its new text."""
    schema = root / SCHEMA
    texts = {schema: json.dumps(message_schema(), indent=2, ensure_ascii=False) + "\n"}
    found = with_new_stages({page: page.read_text() for page in pages(root)}, root / PARAMETERS)
    if missing := missing_tables(found):
        raise SystemExit(f"on no page: {', '.join(missing)}. Add {BEGIN.format(missing[0])} and {END} to one.")
    for page, text in found.items():
        texts[page] = TABLE.sub(lambda table, page=page: written(table[1], page), text)  # type: ignore[misc]
    for path, text in texts.items():
        if not path.exists() or path.read_text() != text:
            yield path, text


def with_new_stages(texts: dict[Path, str], page: Path) -> dict[Path, str]:
    """Add a section to the page of parameters for each stage that has none."""
    if page not in texts:
        return texts
    names = [name for name in missing_tables(texts) if name.startswith(OF_STAGE)]
    added = [f"\n## {name.removeprefix(OF_STAGE)}\n\n{BEGIN.format(name)}\n{END}\n" for name in names]
    return {**texts, page: "".join([texts[page], *added])}


def missing_tables(texts: dict[Path, str]) -> list[str]:
    shown = {name for text in texts.values() for name in TABLE.findall(text)}
    return [name for name in TABLES if name not in shown]


def pages(root: Path) -> list[Path]:
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def written(name: str, page: Path) -> str:
    if name not in TABLES:
        raise SystemExit(f"{page}: the contract has no table {name}. Known: {', '.join(TABLES)}")
    return f"{BEGIN.format(name)}\n\n{TABLES[name]()}\n{END}"


if __name__ == "__main__":
    raise SystemExit(main())
