"""Parameters of a stage against its entry in the table: refused at once, not after hours of the stages before."""

from collections.abc import Mapping, Sequence
from typing import Any

from splatworks.contract.arguments import check_arguments
from splatworks.contract.message_schema import JOB_FIELDS
from splatworks.contract.parameters import ParameterError, check_parameters
from splatworks.contract.stage import Stage
from splatworks.contract.stages import STAGES
from splatworks.planning.bad_input import BadInputError, format_value
from splatworks.planning.places import BATCH_JOB, other_place


def check_stage_parameters(
    stage: Stage, parameters: Mapping[str, Any], path: str, trigger_type: str = "splat_pipeline"
) -> None:
    """`path` is the place of the parameters in the message, such as data.train.parameters."""
    try:
        check_parameters(stage.parameters, stage.name, parameters)
    except ParameterError as error:
        written = next((name for name in parameters if name.lower() == error.name.lower()), error.name)
        elsewhere = other_place(written, f"{path}.", trigger_type) if error.is_unknown else None
        raise BadInputError(
            field=f"{path}.{written}"[:120],
            given=format_value(error.given),
            allowed=error.allowed,
            fix=elsewhere or error.fix,
        ) from None


def check_stage_arguments(stage: Stage, arguments: Sequence[str]) -> None:
    """Refuse `args` of a batch_job that the stage's script would refuse once its machine runs."""
    try:
        check_arguments(stage.parameters, stage.name, arguments)
    except ParameterError as error:
        name = error.name.lstrip("-").replace("-", "_")
        elsewhere = other_place(name, "data.args.", BATCH_JOB) if name in JOB_FIELDS else None
        raise BadInputError(
            field="data.args",
            given=format_value(error.given if error.is_unknown else f"{error.name} {error.given}"),
            allowed=error.allowed,
            fix=elsewhere or error.fix,
        ) from None


def stage_of_script(script_key: str) -> Stage | None:
    """The stage whose script this key names; None for a user's own script."""
    return next((stage for stage in STAGES.values() if stage.script_key == script_key), None)
