"""The folders of local/ import in one direction, and what the wheel ships does not need local/."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Each may import those before it. "" is local/ itself: the embedded AWS that wires the others together.
ORDER = ("moto", "delivery", "iam", "lambdas", "events", "batch", "terraform", "survey", "", "demo")
LAZY = {"local.__main__"}  # the command line starts any of them


def imported(path: Path) -> set[str]:
    """The modules that a file imports, including those inside of functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str:
    """The folder of local/ that a module, or a name in a module, belongs to."""
    part = module.split(".")[1]
    return part if (ROOT / "local" / part).is_dir() else ""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_every_room_has_its_place_in_the_order() -> None:
    assert {path.parent.name for path in (ROOT / "local").glob("*/__init__.py")} == {name for name in ORDER if name}


@pytest.mark.parametrize("path", sorted((ROOT / "local").rglob("*.py")), ids=module_of)
def test_imports_go_one_way(path: Path) -> None:
    here = module_of(path)
    if here in LAZY:
        return
    allowed = ORDER[: ORDER.index(room(here)) + 1]
    others = {module for module in imported(path) if module.startswith("local.")}
    assert [module for module in sorted(others) if room(module) not in allowed] == []


@pytest.mark.parametrize("path", sorted((ROOT / "splatworks" / "sandbox").rglob("*.py")), ids=module_of)
def test_the_sandbox_needs_nothing_of_local(path: Path) -> None:
    assert [module for module in imported(path) if module.split(".")[0] == "local"] == []
