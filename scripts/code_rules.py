"""Check rules of the code that no linter knows; print each violation with what to do, and exit 1 if there is one.

- A class name is used once. One name, one thing.
- Stage names are in the table of stages and in the stages' own code, nowhere else.
- File names of the documents in S3 are in the contract, nowhere else.
- Nothing changes sys.path.
- Programs that are a file and not a package import what their rooms may (the packages are checked by import-linter),
  and the contract imports the standard library alone.
"""

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from splatworks.contract import events, keys
from splatworks.contract.documents import job, request
from splatworks.contract.environment import PARAMETER_PREFIX
from splatworks.contract.stages import STAGES

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("bench", "docker", "examples", "jobs", "local", "modules/lambda", "scripts", "splatworks", "torture")

STAGE_NAMES_MEANT = {
    "splatworks/contract/": "the table, and the texts about it",
    **{f"jobs/{name}.py": "the stage's script" for name in STAGES},
    **{f"jobs/splatkit/{name}/": "the stage's code" for name in STAGES},
    **{f"bench/{name}_bench.py": "measures one stage" for name in STAGES},
    "bench/pipeline_bench.py": "measures the shipped stages",
    "examples/": "examples name what they show",
    "local/demo/": "the demo is a run of the shipped stages",
    "torture/": "experiments with the shipped stages",
    "scripts/trace_calls.py": "also measures versions that have no table",
}
DOCUMENTS = {*keys.PLATFORM_FILES, *keys.NOT_INPUT, keys.RESULT, keys.RUN, keys.SCENES}
DOCUMENTS |= {keys.FAILED_SCENES, keys.CONTINUE, keys.LEADERBOARD}
WORDS: Mapping[str, str] = {  # by word: the module of the contract that has it
    request.BY_NAME: "documents.request",
    **dict.fromkeys((job.INPUT_ERROR, job.RUNNER_ERROR, job.COST_LIMIT), "documents.job"),
    events.RUN_SETTLED: "events",
    PARAMETER_PREFIX: "environment",
}
DOCUMENTS_MEANT = (
    "splatworks/contract/",
    "examples/",  # a user's script has no contract next to it
    "jobs/cleanup_processor.py",  # likewise
)
PATH_CHANGES_MEANT = {
    "local/lambdas/worker.py": "plays Lambda's runtime, which puts the function's folder first",
}
CHANGES = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"}  # methods of a list

OURS = {
    "aws",
    "bench",
    "dispatch",
    "gather",
    "jobrunner",
    "local",
    "scripts",
    "splatkit",
    "splatworks",
    "torture",
    "triggers",
}
PROGRAMS: Mapping[str, tuple[str, ...]] = {  # by file or folder: what of ours it may import
    "modules/lambda/functions/dispatcher.py": (
        "aws",
        "dispatch",
        "splatworks.contract",
        "splatworks.lookup",
        "splatworks.planning",
        "triggers",
    ),
    "modules/lambda/functions/monitor.py": ("aws", "gather", "splatworks.contract", "splatworks.report"),
    "docker/runner.py": ("jobrunner", "splatworks.contract"),
    **{f"jobs/{name}.py": ("splatkit", "splatworks.contract") for name in (*STAGES, "cleanup_processor")},
    "examples/": ("dispatch", "splatworks.planning", "triggers"),
    "scripts/": ("scripts", "splatworks.contract"),
}
CONTRACT = "splatworks/contract/"


@dataclass(frozen=True)
class Source:
    name: str  # path from the repository, with slashes
    tree: ast.Module


@dataclass(frozen=True)
class Violation:
    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.fix}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Check rules of the code that no linter knows.")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the repository")
    found = list(violations(sources(parser.parse_args().root)))
    for each in found:
        print(each, file=sys.stderr)
    return 1 if found else 0


def sources(root: Path) -> list[Source]:
    paths = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")) if "tests" not in path.parts]
    return [Source(path.relative_to(root).as_posix(), ast.parse(path.read_text())) for path in paths]


def violations(files: Sequence[Source]) -> Iterator[Violation]:
    yield from classes_twice(files)
    for source in files:
        yield from stage_names(source)
        yield from document_names(source)
        yield from path_changes(source)
        yield from foreign_imports(source)


def classes_twice(files: Sequence[Source]) -> Iterator[Violation]:
    places: dict[str, list[str]] = defaultdict(list)
    for source in files:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{source.name}:{node.lineno}")
    for name, where in sorted(places.items()):
        if len(where) > 1:
            yield Violation(where[0], f"the class {name} is also in {', '.join(where[1:])}", "Rename one of them.")


def stage_names(source: Source) -> Iterator[Violation]:
    """Names as values or as part of a key, such as "train" and "stages/train.py"; text with spaces is prose."""
    if source.name.startswith(tuple(STAGE_NAMES_MEANT)):
        return
    for line, text in literals(source.tree):
        parts = set(re.split(r"[/.=]", text)) if re.fullmatch(r"[\w/.=-]+", text) else set()
        if named := parts & set(STAGES):
            yield Violation(
                f"{source.name}:{line}",
                f"{text!r} names the stage {named.pop()}",
                "Take it from splatworks.contract.stages, or add the file to STAGE_NAMES_MEANT with a reason.",
            )


def document_names(source: Source) -> Iterator[Violation]:
    if source.name.startswith(DOCUMENTS_MEANT):
        return
    for line, text in literals(source.tree):
        name = text.rpartition("/")[2]
        if name in DOCUMENTS and " " not in text:
            yield Violation(f"{source.name}:{line}", f"{text!r} is a literal", "Use splatworks.contract.keys.")
        if text in WORDS:
            yield Violation(
                f"{source.name}:{line}", f"{text!r} is a literal", f"Use splatworks.contract.{WORDS[text]}."
            )


def path_changes(source: Source) -> Iterator[Violation]:
    for node in ast.walk(source.tree):
        if source.name not in PATH_CHANGES_MEANT and _changes_path(node):
            fix = "Set PYTHONPATH for the process, or make it a package."
            yield Violation(f"{source.name}:{node.lineno}", "sys.path is changed", fix)  # type: ignore[attr-defined]


def foreign_imports(source: Source) -> Iterator[Violation]:
    for line, module in imports(source.tree):
        top = module.partition(".")[0]
        if source.name.startswith(CONTRACT):
            if top not in sys.stdlib_module_names and not _is_in(module, ("splatworks.contract",)):
                fix = "The contract needs the standard library alone."
                yield Violation(f"{source.name}:{line}", f"imports {module}", fix)
            continue
        for program, allowed in PROGRAMS.items():
            if source.name.startswith(program) and top in OURS and not _is_in(module, allowed):
                fix = f"It may import {', '.join(allowed)}: docs/decisions/contract.md."
                yield Violation(f"{source.name}:{line}", f"imports {module}", fix)


def literals(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """String literals with their lines, without docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def _changes_path(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        is_method = node.func.attr in CHANGES and _is_path(node.func.value)
        return is_method or node.func.attr == "addsitedir"
    if isinstance(node, ast.ImportFrom):
        return node.module == "sys" and any(each.name == "path" for each in node.names)
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    return any(_is_path(each.value if isinstance(each, ast.Subscript) else each) for each in targets)


def _is_path(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "path" and ast.unparse(node.value) == "sys"


def _is_in(module: str, allowed: Sequence[str]) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in allowed)


if __name__ == "__main__":
    raise SystemExit(main())
