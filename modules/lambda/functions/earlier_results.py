"""Results of earlier runs that need not be made again."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stored_json import exists, read_stored


def usable_results(keys: dict[str, str], inputs: tuple[str, ...], bucket: str) -> dict[str, str]:
    """Output prefixes by stage, of the first stages of the chain `keys` (content key by stage) that have results.

    A result counts only if it was made from the very outputs that are used before it, and from `inputs`, the results
    that the message names: two runs of one recipe may place a scene differently, and a splat trained on one of them
    does not fit the photos of the other.
    """
    if not keys:
        return {}
    with ThreadPoolExecutor(len(keys)) as pool:
        results = list(pool.map(lambda stage: _result(stage, keys[stage], bucket), keys))
    used: dict[str, str] = {}
    read = set(inputs)
    for stage, result in zip(keys, results, strict=True):
        if result is None or not read <= {given.get("uri") for given in result["inputs"]}:
            break
        used[stage] = result["output_prefix"]
        read.add(f"s3://{bucket}/{result['output_prefix']}")
    return used


def _result(stage: str, key: str, bucket: str) -> dict[str, Any] | None:
    entry = read_stored(bucket, f"reuse/{key}.json")
    prefix = entry.get("output_prefix") if isinstance(entry, dict) else None
    # The folder of an array's child bears a number: beside another, compress would not know which stage it is of.
    if not isinstance(prefix, str) or not (prefix.startswith("runs/") and prefix.endswith(f"/{stage}/")):
        return None
    if not exists(bucket, f"{prefix}_SUCCESS"):
        return None
    report = read_stored(bucket, f"{prefix}job.json")
    if not isinstance(report, dict) or report.get("content_key") != key:
        return None
    return {"output_prefix": prefix, "inputs": report.get("inputs", [])}
