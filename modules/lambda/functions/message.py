"""Kept for triggers written for version 0.1: these names live in splatworks.planning.message."""

from splatworks.planning.message import Request, check, parse, strict_json

__all__ = ["Request", "check", "parse", "strict_json"]
