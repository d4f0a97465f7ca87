"""Decide a run from its message and from what S3 and ECR hold. Nothing is written yet."""

from dataclasses import dataclass, replace

from splatworks.contract.content_keys import script_digest
from splatworks.contract.documents.run import RunDocument, Scenes
from splatworks.contract.documents.scenes import SceneEntry
from splatworks.contract.keys import SCENES
from splatworks.lookup.clients import Clients
from splatworks.lookup.results import usable_results
from splatworks.lookup.scenes import FIELD, find_scenes
from splatworks.lookup.sources import read_sources
from splatworks.planning.message import Request
from splatworks.planning.pipeline_order import PipelineOrder, check_dataset_name
from splatworks.planning.pipeline_plan import Findings, content_bases, content_keys_of, run_document
from splatworks.planning.settings import DispatcherSettings


@dataclass(frozen=True)
class Decision:
    run: RunDocument
    scenes: tuple[SceneEntry, ...]  # for scenes.json; empty if there is one scene


def decide(clients: Clients, request: Request, order: PipelineOrder, settings: DispatcherSettings) -> Decision:
    """Raises BadInputError if something that the message names is not there."""
    scenes = find_scenes(clients, order.scenes, settings) if order.scenes else []
    if len(scenes) == 1:
        check_dataset_name(scenes[0].input, order.stages[0].name, FIELD)
        order = replace(order, inputs=scenes[0].input, scenes=None)
    sources = read_sources(clients, order, settings)
    bases = content_bases(order, sources)
    keys = {} if order.scenes else content_keys_of(order, bases, sources.inputs)
    reused = {} if order.fresh else usable_results(clients, order.stages, keys, sources.origins, settings.output_bucket)
    findings = Findings(
        bases=bases,
        script_digest=script_digest(sources.scripts),
        keys=keys,
        reused=reused,
        scenes=Scenes(count=len(scenes), key=f"{order.folder}{SCENES}") if order.scenes else Scenes(),
    )
    run = run_document(request, order, settings, findings)
    return Decision(run, tuple(scenes) if order.scenes else ())
