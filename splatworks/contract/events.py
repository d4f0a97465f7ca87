"""Events that the dispatcher puts on the event bus."""

RUN_SETTLED = "Pipeline Run Settled"  # a run that reuses all results: it has no job whose end the monitor could see
RUN_KEY_FIELD = "run_key"  # field of its detail: the key of run.json
