"""auto_resume: a run that has used up its attempts because of lost machines is submitted again after a while.

The monitor has a message published to the trigger topic at that time, and the dispatcher submits what is left of the
run: the same run, output and checkpoints, in jobs with other names.
"""

import hashlib
import re
from typing import Any

from splatworks.contract.keys import RUN

RESUME = "resume"  # trigger_type of the message
# Five delays add up to 2 h 15 min; capacity that is missing for longer needs another instance type. With 10 attempts
# each a job starts 60 times at most.
MAX_RESUMES = 5
FIRST_DELAY, LONGEST_DELAY = 5, 60  # minutes
RESUMED_JOB = re.compile(rf"(.+-[0-9a-f]{{12}}.*)-r([1-{MAX_RESUMES}])")


def delay_minutes(number: int) -> int:
    """How long the resumption of this number waits: 5, 10, 20, 40, 60 minutes."""
    return int(min(FIRST_DELAY * 2 ** (number - 1), LONGEST_DELAY))


def resumed_name(job_name: str, number: int) -> str:
    """The name of a job in the resumption of this number; 0 is the first submission."""
    return f"{job_name}-r{number}" if number else job_name


def split_name(job_name: str) -> tuple[str, int]:
    """The name at the first submission, and the number of the resumption."""
    match = RESUMED_JOB.fullmatch(job_name)
    return (match[1], int(match[2])) if match else (job_name, 0)


def document_key(run_key: str, number: int) -> str:
    """The key of the run document of a resumption, next to run.json."""
    return f"{run_key.removesuffix(RUN)}resume-{number}.json" if number else run_key


def resume_message(key: str, number: int) -> dict[str, Any]:
    """`key` is that of run.json, or of a batch_job's request.json."""
    return {
        "trigger_type": RESUME,
        "data": {"key": key, "number": number, "request_id": f"resume:{name_of(key)}:{number}"},
    }


def name_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def schedule_group(project_name: str) -> str:
    return f"{project_name}-ml-resume"


def schedule_name(key: str, number: int) -> str:
    """The same for the same resumption, so that an event that comes twice makes one schedule."""
    return f"{name_of(key)}-{number}"
