"""Exit codes of scripts and of the container, as the retry rules and the e-mails read them."""

from enum import IntEnum


class ExitCode(IntEnum):
    DONE = 0  # the script is done
    FAILED = 1  # the script failed, as with every code that is not in this table
    INPUT_ERROR = 2  # the input or the options are at fault
    INTERRUPTED = 75  # stopped after a checkpoint: AWS Batch starts the job again
    SIGKILLED = 137  # any SIGKILL; out of memory only if ECS or the cgroup says so
