"""The table of stages: one module each, in the order in which they read each other's output.

To add a stage, write its script in jobs/ and a module here with a STAGE.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from splatworks.contract.stage import Stage

ALL_STEPS = "full"


def ordered(stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """Each stage after those that it reads; raise ValueError if that cannot be."""
    found: dict[str, Stage] = {}
    left = dict(sorted(stages.items()))
    while left:
        ready = [name for name, stage in left.items() if all(read in found for read in stage.reads)]
        if not ready:
            raise ValueError(f"stages that read each other, or one that is not in the table: {', '.join(left)}")
        found |= {name: left.pop(name) for name in ready}
    return found


def _table() -> dict[str, Stage]:
    modules = [importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    return ordered({module.STAGE.name: module.STAGE for module in modules})


STAGES: Mapping[str, Stage] = _table()


def steps_of(stages: Mapping[str, Stage] = STAGES) -> tuple[str, ...]:
    """The values of `steps` in a message: full, or the stage to start with."""
    return (ALL_STEPS, *list(stages)[1:])


def presets_of(stages: Mapping[str, Stage] = STAGES) -> tuple[str, ...]:
    """The values of `preset` in a message."""
    return tuple(dict.fromkeys(preset for stage in stages.values() for preset in stage.presets))


def swept_stages(stages: Mapping[str, Stage] = STAGES) -> tuple[str, ...]:
    return tuple(name for name, stage in stages.items() if stage.can_be_swept)


def stages_to_run(data: Mapping[str, Any], stages: Mapping[str, Stage] = STAGES) -> tuple[Stage, ...]:
    """The stages that a splat_pipeline message asks for, in their order."""
    steps = data.get("steps", ALL_STEPS)
    names = list(stages)
    first = 0 if steps == ALL_STEPS else names.index(steps)
    wanted = [stages[name] for name in names[first:]]
    swept = data.get("sweep", {})
    return tuple(stage for stage in wanted if not stage.optional or stage.name in data or stage.name in (steps, *swept))
