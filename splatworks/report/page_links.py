"""Links that show a result in a browser until they expire, and the command that creates a new one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from splatworks.contract.documents.run import RunStage
from splatworks.contract.keys import child_prefix
from splatworks.contract.stages import STAGES

LINK_SECONDS = 604_800  # the longest life of a link that S3 accepts


@dataclass(frozen=True, kw_only=True)
class PageKeys:
    """Keys of a page and its thumbnail in the output bucket."""

    page: str
    thumbnail: str  # empty if the stage has no thumbnail


@dataclass(frozen=True, kw_only=True)
class Links:
    keys: PageKeys
    page_url: str
    thumbnail_url: str
    expire: datetime


@dataclass(frozen=True, kw_only=True)
class PageView:
    """The fields of a template that shows a page; all are empty if there is nothing to look at."""

    page_url: str = ""
    thumbnail_url: str = ""
    links_end: str = ""
    renew_command: str = ""
    open_command: str = ""


def page_keys(stages: Sequence[RunStage], index: int | None = None) -> PageKeys | None:
    """The page of the last stage that has one; `index` is that of a scene or variant."""
    for stage in reversed(stages):
        definition = STAGES.get(stage.stage)
        if definition and definition.page:
            prefix = child_prefix(stage.place, index)
            thumbnail = f"{prefix}{definition.thumbnail}" if definition.thumbnail else ""
            return PageKeys(page=f"{prefix}{definition.page}", thumbnail=thumbnail)
    return None


def page_fields(links: Links | None, run_id: str, bucket: str, region: str) -> dict[str, str]:
    """The fields of PageView."""
    if links is None:
        return {}
    return {
        "page_url": links.page_url,
        "thumbnail_url": links.thumbnail_url,
        "links_end": f"{links.expire:%Y-%m-%d %H:%M}",
        "renew_command": renew_command(links.keys.page, bucket, region),
        "open_command": f"splatworks open {run_id}",
    }


def renew_command(key: str, bucket: str, region: str) -> str:
    return f"aws s3 presign s3://{bucket}/{key} --expires-in {LINK_SECONDS} --region {region}"
