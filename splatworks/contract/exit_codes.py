"""Exit codes: a script's, chosen by its author, and the container's, read by the retry rules."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of a script."""

    DONE = 0  # the script is done
    FAILED = 1  # the script failed, as with every code that is not in this table
    INPUT_ERROR = 2  # the input or the options are at fault
    INTERRUPTED = 75  # stopped after a checkpoint: AWS Batch starts the job again
    SIGKILLED = 137  # any SIGKILL; out of memory only if ECS or the cgroup says so


# Nothing but the runner ends a container with 119: Python has 1, 2 and 120, sysexits.h 64 to 78, curl up to 102, Rust
# 101, timeout, docker and the shell 124 to 127, signals 128 and more, a Docker daemon that was lost 255.
class ContainerCode(IntEnum):
    """Exit codes of the container. With any other code the container was killed or crashed."""

    DONE = 0  # the result is complete
    INPUT_ERROR = 2  # the input or the options are at fault
    RETRY = 75  # stopped on request, or a temporary fault: the next attempt may succeed
    FAILED = 119  # failed for good: the next attempt would fail as well


FINAL = (ContainerCode.INPUT_ERROR, ContainerCode.FAILED)  # the retry rules end a job with these

# Signals that ask a process to end. A script that dies of one was stopped on request: SIGHUP, SIGINT,
# SIGTERM, as a shell counts them.
ASKED_TO_END = (129, 130, 143)
