"""The dispatcher knows the parameters that the stages have now, and reads their values as the stages do."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from bad_input import BadInputError
from stage_parameters import check_stage_parameters

ROOT = Path(__file__).parents[3]
pytest.importorskip("torch", reason="needs PyTorch, to read the stages' options: scripts/setup.sh test")
pytest.importorskip("pycolmap", reason="needs pycolmap, to read the stages' options: scripts/setup.sh test")


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("stage_parameters_script", ROOT / "scripts" / "stage_parameters.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_stages_say_now() -> None:
    script = load_script()

    assert json.loads(script.FILE.read_text()) == script.stage_parameters(), "run: python scripts/stage_parameters.py"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_steps", 7),
        ("max_steps", "7"),
        ("max_steps", 7.0),
        ("max_steps", "x"),
        ("max_steps", True),
        ("antialiased", True),
        ("antialiased", "Yes"),
        ("antialiased", 0),
        ("antialiased", 2),
        ("min_psnr", 20),
        ("min_psnr", "1e2"),
        ("min_psnr", "nan"),
        ("preset", "draft"),
        ("preset", "Draft"),
        ("PRESET", "draft"),
        ("pre_set", "draft"),
    ],
)
def test_the_dispatcher_takes_what_the_stage_takes(name: str, value: Any, tmp_path: Path) -> None:
    from splatkit.errors import StageError
    from splatkit.options import read_options
    from splatkit.train.options import TrainOptions

    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({name: value}))
    try:
        read_options(TrainOptions, "", ["--input-dir", "a", "--output-dir", "b"], {"PARAMETERS_FILE": str(file)})
        stage_takes_it = True
    except StageError:
        stage_takes_it = False
    try:
        check_stage_parameters("train", {name: value}, "data.train.parameters")
        dispatcher_takes_it = True
    except BadInputError:
        dispatcher_takes_it = False

    assert dispatcher_takes_it == stage_takes_it
