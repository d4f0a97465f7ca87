"""`python runner.py probe`: check this host as a job does when it starts, and print what was found as JSON."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace

from jobrunner.probe.host_check import FIRST_SECONDS, METADATA, HostCheck
from jobrunner.probe.verdict import error_of
from jobrunner.run.machine import MachineFacts
from jobrunner.settings import workspace_of
from splatworks.contract.exit_codes import ContainerCode

COMMAND = "probe"
NO_ANSWER = f"the driver has not answered within {FIRST_SECONDS:g} s. If the host has just booted, try again"


def probe(environment: Mapping[str, str]) -> int:
    """Return 0, 75 for a host whose GPU does not work, or 119 if the image does not fit the GPU.

    Nothing is written: only a job takes its host out of service.
    """
    begun = time.monotonic()
    machine = MachineFacts(environment.get(METADATA), list)
    machine.start()
    check = HostCheck(environment, workspace_of(environment))
    check.begin()
    machine.wait(begun + FIRST_SECONDS - time.monotonic())
    facts = replace(check.facts, image=machine.image_digest or check.facts.image)
    if check.is_waiting:
        check.give_up()
        facts = replace(facts, gpu_problem=NO_ANSWER, gpu_is_bad=True)
    print(json.dumps(asdict(facts), indent=1), flush=True)
    error = error_of(facts, machine.machine.instance_type)
    if error is None:
        return int(ContainerCode.DONE)
    print(f"runner: {error}", file=sys.stderr)
    return int(ContainerCode.RETRY if error.failure.retryable else ContainerCode.FAILED)
