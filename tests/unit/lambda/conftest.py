"""The fixtures of lambda_platform.py, which has a name of its own so that tests can import from it."""

from lambda_platform import failing, platform, shared_platform

__all__ = ["failing", "platform", "shared_platform"]
