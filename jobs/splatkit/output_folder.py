"""The output folder of a stage: results of an earlier run are removed, other files stay."""

from collections.abc import Callable, Iterable
from pathlib import Path

from splatkit.errors import StageError, input_error
from splatworks.contract.output_folder import NotOursError, removable


def removable_results(
    results: Iterable[Path], is_ours: Callable[[Path], bool], read: Iterable[Path] = ()
) -> list[Path]:
    """The results that exist. Raises StageError (input_error) if one is not ours, or holds what this run reads."""
    try:
        return removable(results, is_ours, read)
    except NotOursError as refused:
        raise _as_stage_error(refused) from None


def _as_stage_error(refused: NotOursError) -> StageError:
    path = refused.path
    if refused.read:
        cause = f"{refused.read} would be removed with the results of an earlier run in {path.parent}"
        return input_error("input_in_output", cause, "Give another --output-dir, or move the input elsewhere.")
    holds = " holds files that" if path.is_dir() else " exists and"
    cause = f"{path}{holds} no earlier run of this stage wrote"
    return input_error("output_in_use", cause, "Give another --output-dir, or move it away.")
