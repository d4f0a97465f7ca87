"""The arguments of a stage's script in a message: refused at once, with an answer to act on."""

import pytest

from splatworks.contract.arguments import check_arguments
from splatworks.contract.parameters import ParameterError
from splatworks.contract.stages.train import TrainParameters
from splatworks.planning.bad_input import BadInputError
from splatworks.planning.job_plan import check_job


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--sh-degree", "-1"],
        ["--sh-degree=-1", "--seed=7", "--preset", "draft"],
        ["--sky", "--absgrad", "true", "--exposure=no"],
        ["--sky", "--seed", "7"],
        ["--help"],
        ["--input-dir", "/workspace/input/sfm/", "--output-dir=/workspace/output", "--models-dir", "/opt/models/x"],
    ],
    ids=" ".join,
)
def test_arguments_that_the_script_reads_pass(arguments: list[str]) -> None:
    check_arguments(TrainParameters, "train", arguments)


@pytest.mark.parametrize(
    ("arguments", "given", "allowed", "fix"),
    [
        (["--sh-degree", "9"], "--sh-degree 9", "from 0 to 3 or -1", "Give a whole number"),
        (["--sh-degree=9"], "--sh-degree 9", "from 0 to 3 or -1", "Give a whole number"),
        (["--min-opacity=2"], "--min-opacity 2", "from 0 to 1", "Give a number"),
        (["--sky", "perhaps"], "--sky perhaps", "true or false", "Give true or false."),
        (["--sky="], "--sky ", "true or false", "Give true or false."),
        (["--seed"], "--seed (no value)", "from 0 to 4294967295", "Give it a value: --seed=VALUE."),
        (["--seed", "--sky"], "--seed (no value)", "from 0 to 4294967295", "Give it a value: --seed=VALUE."),
        (["--sh-degre", "1"], "--sh-degre", "the options --input-dir", "Did you mean --sh-degree?"),
        (["--sh_degree=1"], "--sh_degree=1", "the options --input-dir", "Did you mean --sh-degree?"),
        (["--vcpus", "8"], "--vcpus", "the options --input-dir", "write it as data.vcpus"),
        (["-s"], "-s", "the options --input-dir", "train has no option -s."),
        (["draft"], "draft", "the options --input-dir", "train takes options only"),
        (["--seed", "7", "8"], "8", "the options --input-dir", "train takes options only"),
        (["--input-dir", "photos/x"], "--input-dir photos/x", "/workspace/input or", "the platform sets it"),
        (["--output-dir=/tmp/out"], "--output-dir /tmp/out", "/workspace/output or", "the platform sets it"),
        (["--output-dir=/workspace/output/../x"], "--output-dir", "/workspace/output or", "the platform sets it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_others_are_refused(arguments: list[str], given: str, allowed: str, fix: str) -> None:
    with pytest.raises(ParameterError):
        check_arguments(TrainParameters, "train", arguments)
    with pytest.raises(BadInputError) as refused:
        check_job({"script_key": "stages/train.py", "args": arguments})

    assert refused.value.field == "data.args"
    assert given in refused.value.given
    assert allowed in refused.value.allowed
    assert fix in refused.value.fix


def test_the_arguments_of_a_users_own_script_are_its_own_affair() -> None:
    check_job({"script_key": "jobs/train.py", "args": ["--sh-degree", "9", "anything"]})
