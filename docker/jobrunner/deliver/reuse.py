"""Find, record and copy results that need not be made again, by their content key."""

import logging
from collections.abc import Sequence

from jobrunner.failures import reason
from jobrunner.fetch.ingredients import EarlierResult, Ingredient, earlier_result
from jobrunner.settings import Settings
from jobrunner.store import AWS_FAULTS, Copy, Store
from splatworks.contract.content_keys import content_key
from splatworks.contract.documents.codec import PUSH_THE_IMAGE, DocumentError
from splatworks.contract.documents.request import JobRequest
from splatworks.contract.documents.reuse import ReuseEntry, read_reuse_entry, write_reuse_entry
from splatworks.contract.keys import RESERVED, RUNS, reuse_key

log = logging.getLogger("runner")


def own_key(job: JobRequest, ingredients: Sequence[Ingredient], script_digest: str) -> str | None:
    """Make the key from the job's actual input: photos and scripts may have been replaced since the submission."""
    if not job.content_base:
        return None
    if job.script_digest not in (None, script_digest):
        why = "its folder is not what it was at submission"
        log.warning("the result of %s is neither looked up nor recorded for reuse: %s", job.script_key, why)
        return None
    key = content_key(job.content_base, job.parameters, [each.digest for each in ingredients])
    if job.content_key not in (None, key):
        why = f"the input is not what it was at submission, which made it {job.content_key}"
        log.warning("the content key is %s: %s", key, why)
    return key


def find(key: str, ingredients: Sequence[Ingredient], settings: Settings, store: Store) -> EarlierResult | None:
    """An earlier result of this key that can be used; the log says why one cannot."""
    try:
        return _look_up(key, ingredients, settings, store)
    except (_UnusableError, DocumentError, *AWS_FAULTS) as error:
        where = f"s3://{settings.output_bucket}/{reuse_key(key)}"
        log.warning("the earlier result in %s is not used: %s", where, reason(error))
        return None


def copies(result: EarlierResult, settings: Settings) -> list[Copy]:
    reserved = {result.prefix + name for name in RESERVED}
    return [
        Copy(file, settings.output_prefix + file.key.removeprefix(result.prefix))
        for file in result.files
        if file.key not in reserved
    ]


def record(key: str, settings: Settings, store: Store) -> None:
    """Let later jobs find this result. A failure to record it does not fail the job."""
    entry = write_reuse_entry(ReuseEntry(output_prefix=settings.output_prefix))
    try:
        store.write(settings.output_bucket, reuse_key(key), entry)
    except AWS_FAULTS as error:
        log.warning("this result will not be found by later jobs: %s", reason(error))


class _UnusableError(Exception):
    """An earlier result is recorded, but cannot be used."""


def _look_up(key: str, ingredients: Sequence[Ingredient], settings: Settings, store: Store) -> EarlierResult | None:
    bucket = settings.output_bucket
    text = store.read(bucket, reuse_key(key))
    if text is None:
        return None
    prefix = read_reuse_entry(text, "its entry", PUSH_THE_IMAGE).output_prefix
    if not prefix.startswith(RUNS) or not prefix.endswith("/"):
        raise _UnusableError(f"its entry names no output: {text[:200]!r}")
    if prefix == settings.output_prefix:
        raise _UnusableError("it is this job's own")
    result = earlier_result(store, bucket, prefix, store.list(bucket, prefix))
    if result is None:
        raise _UnusableError(f"{prefix} is gone, or not as the stage left it")
    if result.content_key != key:
        raise _UnusableError(f"{prefix} holds another result")
    # Two runs of one recipe may place a scene differently: a splat of one does not fit the photos of the other.
    if not {each.origin for each in ingredients if each.origin} <= result.input_origins:
        raise _UnusableError(f"{prefix} was made from another run of the stage before")
    return result
