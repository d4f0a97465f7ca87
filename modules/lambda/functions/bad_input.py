"""Kept for triggers written for version 0.1: these names live in splatworks.planning.bad_input."""

from splatworks.planning.bad_input import BadInputError, nearest
from splatworks.planning.bad_input import format_value as shown

__all__ = ["BadInputError", "nearest", "shown"]
