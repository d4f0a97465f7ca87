"""A run decided from its message and from what S3 and ECR tell, with nothing written yet."""

from dataclasses import dataclass, replace
from typing import Any

from splatworks.lookup.clients import Clients
from splatworks.lookup.results import usable_results
from splatworks.lookup.scenes import FIELD, Scene, find_scenes
from splatworks.lookup.sources import read_sources
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import PipelineOrder, check_dataset_name
from splatworks.planning.pipeline_plan import content_bases, content_keys_of, run_document
from splatworks.planning.settings import DispatcherSettings


@dataclass(frozen=True)
class Decision:
    run: dict[str, Any]  # run.json
    scenes: tuple[Scene, ...]  # scenes.json, where there are several


def decide(clients: Clients, request: Request, order: PipelineOrder, settings: DispatcherSettings) -> Decision:
    """Raises BadInputError where what the message names is not there."""
    scenes = find_scenes(clients, order.scenes, settings) if order.scenes else []
    if len(scenes) == 1:
        check_dataset_name((scenes[0].uri,), order.stages[0].stage, FIELD)
        order = replace(order, inputs=(scenes[0].uri,), scenes=None)
    sources = read_sources(clients, order, settings)
    bases = content_bases(order, sources, settings)
    keys = {} if order.scenes else content_keys_of(order, bases, sources.inputs)
    reused = {} if order.fresh else usable_results(clients, keys, sources.origins, settings.output_bucket)
    count = len(scenes) if order.scenes else 1
    run = run_document(request, order, settings, bases=bases, keys=keys, reused=reused, scenes=count)
    return Decision(run, tuple(scenes) if order.scenes else ())
