"""Every command in the documents is one that its program takes, by that program's own parser or model of its service.

What README and operations.md mark as run, tests/flow runs word for word; here are the guides, what is marked `not run`,
and what stands in the middle of a sentence.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.session
import pytest
import typer
from botocore import xform_name

ROOT = Path(__file__).parents[3]
GUIDES = ROOT / "docs" / "guides"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
STAGES = ("sfm", "train", "compress")

BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
PLACEHOLDER = re.compile(r"<[a-z ]+>|…")
CHECKED_IN_SENTENCES = ("splatworks ", "aws ", "make ", "pip install", "python jobs/")

Words = list[str]


def test_the_documents_hold_commands_of_every_kind() -> None:
    programs = {words[0] for _, words in COMMANDS}
    assert {"splatworks", "aws", "make", "terraform", "python", "pip"} <= programs
    assert len(COMMANDS) > 60


def commands_in(text: str) -> Iterator[Words]:
    """The simple commands of a shell script, those in $(…) too."""
    for inner in re.findall(r"\$\(([^()]*)\)", text):
        yield from commands_in(inner)
    for line in whole_lines(re.sub(r"\$\([^()]*\)", "VALUE", text)):
        tokens = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        tokens.whitespace_split = True
        words: Words = []
        for token in [*tokens, ";"]:
            if not set(token) <= set("|&;<>"):
                words.append(token)
                continue
            while words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
                words.pop(0)  # an assignment before the command
            if words:
                yield words
            words = ["FILE"] if token in "<>" else []  # what follows is no command


def whole_lines(text: str) -> Iterator[str]:
    """Lines, joined where a quoted text goes on."""
    line = ""
    for each in text.splitlines():
        line = f"{line}\n{each}" if line else each
        try:
            shlex.split(line, comments=True)
        except ValueError:
            continue
        yield line
        line = ""
    assert not line, f"a quote that does not end: {line}"


def commands_of(page: Path) -> Iterator[Words]:
    text = page.read_text()
    for block in BLOCK.findall(text):
        yield from commands_in(PLACEHOLDER.sub("x", block))
    for span in SPAN.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if span.startswith(CHECKED_IN_SENTENCES):
            yield from commands_in(PLACEHOLDER.sub("x", span))


COMMANDS = [(page.name, words) for page in PAGES for words in commands_of(page)]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(w)[:60]}" for page, w in COMMANDS])
def test_a_command_is_one_that_its_program_takes(page: str, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program, *arguments = words
    check = CHECKS.get(program)
    assert check or program in SHELL, f"{page} has a command that no test knows to check: {' '.join(words)}"
    if check:
        check(arguments)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("splatworks submit photos/ --stps full", "--stps"),
        ("splatworks submt photos/", "submt"),
        ("splatworks logs a b c d", "unexpected extra"),
        ("X=$(splatworks status --day 1)", "--day"),
        ("aws sns publish --topic-arn x --mesage y", "publish takes"),
        ("aws batch terminate-job --job-id x", "terminate-job needs"),
        ("aws batch list-job", "list-job"),
        ("make bnech", "bnech"),
        ("make demo PHOTO=x", "PHOTO"),
        ("make bench ONLY=none_bench", "is_file"),
        ("terraform output -raw nothing", "nothing"),
        ("pip install '.[clii]'", "clii"),
        ("ls | python jobs/train.py --preset drft", "drft"),
        ("python jobs/sfm.py --max-image 3", "2"),  # argparse's way out
        ("python tests/gpu/none.py", "there is no tests/gpu/none.py"),
        ("python -c 'import ('", "<page>"),
        ("terrafrom apply", "no test knows to check: terrafrom apply"),
    ],
)
def test_a_misspelt_command_would_be_found(text: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((Exception, SystemExit)) as found:
        for words in commands_in(text):
            test_a_command_is_one_that_its_program_takes("a page", words, monkeypatch)
    assert told in f"{found.value} {getattr(found.value, 'option_name', '')}"


SHELL = {"FILE", "cp", "echo", "export", "jq", "ls"}


def check_splatworks(arguments: Words) -> None:
    from splatworks.cli.app import app

    if not arguments:
        return
    group = typer.main.get_command(app)
    name, *options = arguments
    command = group.commands[name]  # type: ignore[attr-defined]
    takes_run = any(each.param_type_name == "argument" and each.required for each in command.params)
    named = [each for each in options if not each.startswith("-")]
    context = command.context_class(command, info_name=name)
    command.parse_args(context, [*options, *(["some-run"] if takes_run and not named else [])])


def check_aws(arguments: Words) -> None:
    """Against botocore's model of the service. `s3` and `logs tail` are the command line's own, run by tests/flow."""
    if not arguments or arguments[0] == "s3" or arguments[:2] == ["logs", "tail"]:
        return
    service, operation, *options = arguments
    model = botocore.session.Session().get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    called = model.operation_model(operations[operation])
    shape, filled_in = called.input_shape, set(called.idempotent_members)  # the command line makes up the tokens
    known = {f"--{xform_name(name, '-')}" for name in (shape.members if shape else ())} | {"--query", "--output"}
    given = {each for each in options if each.startswith("--")}
    assert given <= known, f"{operation} takes {sorted(known)}"
    required = {
        f"--{xform_name(name, '-')}" for name in (shape.required_members if shape else ()) if name not in filled_in
    }
    assert not given or required <= given, f"{operation} needs {sorted(required)}"


def check_make(arguments: Words) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for each in arguments:
        name, is_variable, value = each.partition("=")
        if is_variable:
            assert f"$({name})" in makefile or f"$(or $({name})" in makefile
            assert name != "ONLY" or (ROOT / "bench" / f"{value}.py").is_file()
            assert name != "ARGS" or all((ROOT / word).exists() for word in value.split() if "/" in word)
        else:
            assert re.search(rf"^{re.escape(name)}:", makefile, re.MULTILINE)


def check_terraform(arguments: Words) -> None:
    if arguments[0] == "output":
        outputs = re.findall(r'^output "(\w+)"', (ROOT / "outputs.tf").read_text(), re.MULTILINE)
        assert arguments[1:-1] == ["-raw"] and arguments[-1] in outputs
    else:
        assert arguments[0] in ("init", "apply", "destroy")


def check_pip(arguments: Words) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"\[(\w+)\]", " ".join(arguments)):
        assert extra in project["optional-dependencies"]


def check_python(arguments: Words) -> None:
    if arguments[0] == "-c":
        compile(arguments[1], "<page>", "exec")
        return
    if arguments[0] == "-m":
        assert arguments[1] == "pytest"
        arguments = arguments[2:]
    assert (ROOT / arguments[0]).exists(), f"there is no {arguments[0]}"
    stage = Path(arguments[0])
    if stage.parent.name == "jobs":
        options_of(stage.stem, arguments[1:])


def check_script(name: str) -> Callable[[Words], None]:
    def check(_: Words) -> None:
        assert (ROOT / name).is_file()

    return check


BUILD = "modules/batch/docker/build-and-push.sh"
CHECKS: dict[str, Callable[[Words], None]] = {
    "splatworks": check_splatworks,
    "aws": check_aws,
    "make": check_make,
    "terraform": check_terraform,
    "pip": check_pip,
    "python": check_python,
    ".venv/bin/python": check_python,
    BUILD: check_script(BUILD),
}


def options_of(stage: str, arguments: Words) -> object:
    """As the stage reads its command line: unknown options and bad values are refused."""
    pytest.importorskip("torch", reason="needs PyTorch, to read the stages' options: scripts/setup.sh test")
    from splatkit.options import read_options

    return read_options(options_class(stage), stage, ["--input-dir", "IN", "--output-dir", "OUT", *arguments], {})


def options_class(stage: str) -> type:
    if stage == "sfm":
        from splatkit.sfm.options import SfmOptions

        return SfmOptions
    if stage == "train":
        from splatkit.train.options import TrainOptions

        return TrainOptions
    from splatkit.compress.options import CompressOptions

    return CompressOptions


def spans_of(page: str) -> set[str]:
    """Without the measurements, which mention options of other programs."""
    text = (GUIDES / page).read_text().partition("\n## Measured")[0]
    return {span for span in SPAN.findall(text) if span.startswith("-")}


@pytest.mark.parametrize("stage", STAGES)
def test_options_that_a_guide_of_a_stage_mentions_are_the_stages(stage: str) -> None:
    known = {f"--{name.replace('_', '-')}" for name in vars(options_class(stage))["__dataclass_fields__"]}
    mentioned = {span for span in spans_of(f"{stage}.md") if span.startswith("--")} - {"--help"}
    assert mentioned or stage == "sfm"
    for span in mentioned:
        first, *rest = shlex.split(span)
        assert first in known, f"{stage}.md mentions {span}"
        if rest:
            options_of(stage, [first, *rest])


def test_options_that_the_guide_of_the_command_line_mentions_are_its_own() -> None:
    from splatworks.cli.app import app

    group = typer.main.get_command(app)
    commands = group.commands.values()  # type: ignore[attr-defined]
    known = {text for each in commands for option in each.params for text in (*option.opts, *option.secondary_opts)}
    mentioned = {span.split()[0] for span in spans_of("command-line.md")}
    assert len(mentioned) > 20
    assert mentioned <= known, mentioned - known


def test_defaults_in_the_table_of_gates_are_those_of_the_options() -> None:
    options = options_of("sfm", [])
    table = (GUIDES / "sfm.md").read_text().partition("## Gates")[2].partition("## When")[0]
    told = re.findall(r"\| `(\w+)` ([\d.]+)", table)
    assert len(told) >= 10
    for name, value in told:
        assert getattr(options, name) == float(value), f"{name}: the guide says {value}"


def test_the_command_that_moves_a_model_to_its_origin_does_so(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="needs pycolmap: scripts/setup.sh test")
    (command,) = [words for page, words in COMMANDS if page == "train.md" and words[:2] == ["python", "-c"]]
    folder = tmp_path / "sparse" / "0"
    folder.mkdir(parents=True)
    model = pycolmap.Reconstruction()
    point = model.add_point3D([500001.0, 5400002.0, 3.0], pycolmap.Track(), [0, 0, 0])
    model.write(folder)

    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True, timeout=120)

    assert list(pycolmap.Reconstruction(folder).points3D[point].xyz) == [1.0, 2.0, 3.0]
