"""The options of jobs/compress.py."""

from dataclasses import dataclass

from splatworks.contract.parameters import Folders
from splatworks.contract.stages.compress import CompressParameters


@dataclass(frozen=True, kw_only=True)
class CompressOptions(CompressParameters, Folders):
    pass
