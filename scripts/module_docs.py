"""Writes the inputs and outputs of the Terraform modules into their READMEs; --check tells whether they are stale."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hcl2

MODULES = Path(__file__).resolve().parent.parent / "modules"
BEGIN = "<!-- Written by scripts/module_docs.py from variables.tf and outputs.tf. -->"
END = "<!-- End of what scripts/module_docs.py writes. -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a README is stale")
    parser.add_argument("--modules", type=Path, default=MODULES, help="folder of the modules")
    arguments = parser.parse_args()

    stale = [readme for readme in _readmes(arguments.modules) if _rewritten(readme) != readme.read_text()]
    if arguments.check:
        for readme in stale:
            print(f"{readme}: its inputs or outputs have changed. Run: python scripts/module_docs.py", file=sys.stderr)
        return 1 if stale else 0
    for readme in stale:
        readme.write_text(_rewritten(readme))
    return 0


def _readmes(modules: Path) -> list[Path]:
    readmes = [variables.parent / "README.md" for variables in sorted(modules.glob("*/variables.tf"))]
    if not readmes:
        raise SystemExit(f"{modules}: no modules there (folders with a variables.tf)")
    if missing := [str(readme) for readme in readmes if not readme.exists()]:
        raise SystemExit(f"not there: {', '.join(missing)}. Begin it with a title and what the module is for.")
    return readmes


def _rewritten(readme: Path) -> str:
    text = readme.read_text()
    written_by_hand, marker, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] if marker else ""
    tables = f"{BEGIN}\n\n{_inputs(readme.parent)}\n{_outputs(readme.parent)}\n{END}"
    return f"{written_by_hand.rstrip()}\n\n{tables}\n{after.lstrip()}"


def _inputs(module: Path) -> str:
    rows = [
        (f"`{name}`", f"`{_type(block)}`", _cell(json.loads(block["description"])))
        for name, block in _blocks(module / "variables.tf", "variable")
    ]
    return _table("Inputs", ("Name", "Type", "What"), rows)


def _outputs(module: Path) -> str:
    rows = [
        (f"`{name}`", _cell(json.loads(block["description"])))
        for name, block in _blocks(module / "outputs.tf", "output")
    ]
    return _table("Outputs", ("Name", "What"), rows)


def _blocks(path: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    with path.open() as file:
        content: dict[str, Any] = hcl2.load(file)
    found = [(json.loads(name), block) for entry in content.get(kind, []) for name, block in entry.items()]
    if undescribed := [name for name, block in found if "description" not in block]:
        raise SystemExit(f"{path}: without description: {', '.join(undescribed)}")
    return found


def _type(block: dict[str, Any]) -> str:
    """`list(string)` of what hcl2 gives as an expression, `${list(string)}`; an object's fields would fill the page."""
    expression = str(block.get("type", "any")).removeprefix("${").removesuffix("}")
    return re.sub(r"object\(\{.*\}\)", "object", expression, flags=re.DOTALL)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _table(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return f"## {title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
