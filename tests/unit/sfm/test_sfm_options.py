"""How sfm.py is told what to do: command line, environment, file, and what is refused."""

import json
from pathlib import Path

import pytest
from sfm import SfmOptions

from splatkit.compress.options import CompressOptions
from splatkit.errors import StageError
from splatkit.options import read_options
from splatkit.sfm.steps import SfmRun, open_database
from splatkit.stage import Progress
from splatkit.train.options import TrainOptions
from splatworks.contract.exit_codes import ExitCode
from splatworks.contract.parameters import parameters_of

FOLDERS = {"INPUT_DIR": "/in", "OUTPUT_DIR": "/out"}


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({"max-images": 10, "quality": "high", "overlap": 5}))
    environment = {**FOLDERS, "PARAMETERS_FILE": str(file), "PARAM_MAX_IMAGES": "20", "PARAM_QUALITY": "fast"}
    options = read_options(SfmOptions, "", ["--max-images", "30", "--force"], environment)
    assert (options.max_images, options.quality, options.overlap, options.force) == (30, "fast", 5, True)
    assert options.input_dir == Path("/in")


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--max-images", "many"], {}, "--max-images is 'many'; allowed is a whole number"),
        (["--quality", "best"], {}, "one of fast, normal, high"),
        ([], {"PARAM_FORCE": "perhaps"}, "true or false"),
        (["--max-images", "2"], {}, "allowed is a whole number from 3 to 1000000 or 0"),
        (["--min-registered", "nan"], {}, "a number from 0 to 1"),
        (["--neighbours", "0"], {}, "--neighbours is '0'; allowed is a whole number from 2 to 10000"),
        ([], {"INPUT_DIR": ""}, "--input-dir"),
    ],
)
def test_a_bad_option_names_itself_and_what_is_allowed(
    arguments: list[str], environment: dict[str, str], words: str
) -> None:
    with pytest.raises(StageError) as caught:
        read_options(SfmOptions, "", arguments, {**FOLDERS, **environment})
    assert words in caught.value.cause and caught.value.exit_code == ExitCode.INPUT_ERROR


def test_an_unknown_parameter_is_answered_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text('{"qualty": "high"}')
    with pytest.raises(StageError) as caught:
        read_options(SfmOptions, "", [], {**FOLDERS, "PARAMETERS_FILE": str(file)})
    assert caught.value.fix == "Did you mean quality?"


@pytest.mark.parametrize("kind", [SfmOptions, TrainOptions, CompressOptions])
def test_help_has_a_text_for_every_option(kind: type, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_options(kind, "what it does", ["--help"], FOLDERS)
    told = capsys.readouterr().out
    assert ended.value.code == 0
    for name, parameter in parameters_of(kind).items():
        after = " ".join(told.split(f"  {parameter.option} ")[1].split("  --")[0].split())
        assert len(parameter.help.split()) > 1 and parameter.help in after, name
        assert str(parameter.range or "") in after, name


@pytest.mark.parametrize(
    ("output", "told", "expected"),
    [
        (".", "", "out.checkpoint"),
        (".", "elsewhere", "out/elsewhere"),
        ("..", "", "../base.checkpoint"),
        ("scene", "", "out/scene.checkpoint"),
    ],
)
def test_the_checkpoint_lies_beside_any_output_folder_or_where_it_is_told(
    output: str, told: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "base" / "out"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    options = SfmOptions(input_dir=tmp_path, output_dir=Path(output), checkpoint_dir=Path(told) if told else None)
    run = SfmRun(options, tmp_path, Progress("sfm", tmp_path, {}), tmp_path / "log")
    open_database(run, [], [])
    assert (here.parent / expected).is_dir()
