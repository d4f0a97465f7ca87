"""The fixtures of lambda_platform.py and pipeline_run.py, which have names of their own so that tests can import."""

from lambda_platform import failing, platform, shared_platform
from pipeline_run import run

__all__ = ["failing", "platform", "run", "shared_platform"]
