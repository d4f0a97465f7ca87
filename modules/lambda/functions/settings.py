"""Kept for triggers written for version 0.1: DispatcherSettings lives in splatworks.planning.settings."""

from splatworks.planning.settings import Compute, DispatcherSettings

__all__ = ["Compute", "DispatcherSettings"]
