"""What must be on the disk before the script starts: its code, its input, the checkpoints of an earlier attempt."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from botocore.exceptions import ClientError

from jobrunner.failures import InputError, RunnerError, error_code, is_temporary, reason
from jobrunner.fetch.ingredients import Ingredient, earlier_result, ingredient
from jobrunner.fetch.request import ChildRequest, Location
from jobrunner.settings import Settings
from jobrunner.store import AWS_FAULTS, Download, RemoteFile, Store
from splatworks.contract.content_keys import script_digest
from splatworks.contract.documents.job import InputFacts
from splatworks.contract.documents.request import BY_NAME
from splatworks.contract.paths import path_below, refuse_collisions

log = logging.getLogger("runner")

# Scripts directly in these travel alone; everywhere else the whole folder of the script comes along.
SHARED_FOLDERS = ("", "jobs", "examples")
DISK_RESERVE = 256 * 1024 * 1024  # left free for logs and the script's first files
DENIED = ("AccessDenied", "403", "AllAccessDisabled", "InvalidAccessKeyId")


@dataclass(frozen=True)
class Input:
    uri: str
    downloads: list[Download]
    ingredient: Ingredient

    @property
    def facts(self) -> InputFacts:
        files = [download.source for download in self.downloads]
        lines = "".join(sorted(f"{file.key}\t{file.size}\t{file.etag}\n" for file in files))
        return InputFacts(
            uri=self.uri,
            files=len(files),
            bytes=sum(file.size for file in files),
            sha256=hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest(),
            origin=self.ingredient.origin,
        )


@dataclass(frozen=True)
class DownloadPlan:
    script: Path
    script_digest: str
    requirements: Path | None
    inputs: list[Input]
    downloads: list[Download]  # all of them: code, inputs, checkpoints

    @property
    def ingredients(self) -> list[Ingredient]:
        return [each.ingredient for each in self.inputs]

    @property
    def size(self) -> int:
        return sum(download.source.size for download in self.downloads)


def plan_downloads(request: ChildRequest, settings: Settings, store: Store) -> DownloadPlan:
    """Lists everything at once; decides all targets and checks them before the first byte comes."""
    job = request.job
    with ThreadPoolExecutor(8, thread_name_prefix="listing") as pool:
        code = pool.submit(_code, job.script_key, settings, store)
        checkpoints = pool.submit(_checkpoints, job.checkpoint_prefix, settings, store)
        inputs = [pool.submit(_input, each, job.input_layout, settings, store) for each in request.inputs]
        stray = pool.submit(_stray_requirements, job.script_key, settings, store)
        plan = _plan(job.script_key, code.result(), [each.result() for each in inputs], checkpoints.result())
    if stray.result() and not plan.requirements:
        log.warning("%s", stray.result())
    refuse_collisions((download.target, download.source.uri) for download in plan.downloads)
    _check_disk(plan.size, settings.workspace)
    return plan


def _plan(script_key: str, code: list[Download], inputs: list[Input], checkpoints: list[Download]) -> DownloadPlan:
    own, shared = _requirements_keys(script_key)
    wanted = own if _travels_alone(script_key) else shared
    targets = {download.source.key: download.target for download in code}
    downloads = [*code, *(download for each in inputs for download in each.downloads), *checkpoints]
    digest = script_digest((download.source.key, download.source.etag) for download in code)
    return DownloadPlan(targets[script_key], digest, targets.get(wanted), inputs, downloads)


def _travels_alone(script_key: str) -> bool:
    return script_key.rpartition("/")[0] in SHARED_FOLDERS


def _requirements_keys(script_key: str) -> tuple[str, str]:
    folder = script_key.rpartition("/")[0]
    return f"{script_key.removesuffix('.py')}.requirements.txt", f"{folder}/requirements.txt"


def _code(script_key: str, settings: Settings, store: Store) -> list[Download]:
    bucket = settings.input_bucket
    folder, _, name = script_key.rpartition("/")
    if not name.endswith(".py") or name == ".py":
        raise InputError("bad_script_key", f"script_key {script_key!r} is no Python file", "Name a .py file")
    prefix = f"{folder}/" if folder else ""
    try:
        if _travels_alone(script_key):
            beside = store.list(bucket, script_key.removesuffix("py"), delimiter="/")
            found = [file for file in beside if file.key in (script_key, _requirements_keys(script_key)[0])]
        else:
            found = _files_only(store.list(bucket, prefix))
    except ClientError as error:
        raise _unlistable(f"s3://{bucket}/{prefix}", error, RunnerError) from error
    if script_key not in [file.key for file in found]:
        raise RunnerError(
            "script_not_found",
            f"s3://{bucket}/{script_key} does not exist",
            f"Upload it (aws s3 cp script.py s3://{bucket}/{script_key}) and publish the message again",
        )
    return [_download(file, settings.code_dir, file.key.removeprefix(prefix)) for file in found]


def _stray_requirements(script_key: str, settings: Settings, store: Store) -> str | None:
    """A hint for who puts a requirements.txt beside a script that travels alone: it would be everyone's."""
    own, shared = (name.lstrip("/") for name in _requirements_keys(script_key))
    try:
        if not _travels_alone(script_key) or store.find(settings.input_bucket, shared) is None:
            return None
    except AWS_FAULTS:
        return None  # it was only for a hint
    return (
        f"{shared} is not installed, for many scripts lie beside it: name it {own}, or give the script its own folder"
    )


def _checkpoints(prefix: str, settings: Settings, store: Store) -> list[Download]:
    try:
        found = _files_only(store.list(settings.output_bucket, prefix))
    except ClientError as error:
        raise _unlistable(f"s3://{settings.output_bucket}/{prefix}", error, RunnerError) from error
    return [_download(file, settings.checkpoint_dir, file.key.removeprefix(prefix)) for file in found]


def _input(location: Location, layout: str, settings: Settings, store: Store) -> Input:
    uri, folder = location.uri, settings.input_dir / location.folder
    bucket, key = _split(uri)
    try:
        single = None if key == "" or key.endswith("/") else store.find(bucket, key)
        if single:
            name = PurePosixPath(key).name
            return Input(uri, [_download(single, folder, name)], ingredient([single], key.removesuffix(name), None))
        prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        found = _files_only(store.list(bucket, prefix))
    except ClientError as error:
        raise _unlistable(uri, error, InputError) from error
    if not found:
        raise InputError(
            "input_not_found",
            f"the input {uri} names no object and no folder with objects",
            f"Upload to it, or look for the right name with: aws s3 ls s3://{bucket}/{prefix}",
        )
    if layout == BY_NAME and not location.folder:
        name = _split(location.base)[1].rstrip("/").rpartition("/")[2]
        folder = path_below(folder, name or bucket, uri)
    result = earlier_result(store, bucket, prefix, found) if bucket == settings.output_bucket else None
    downloads = [_download(file, folder, file.key.removeprefix(prefix)) for file in found]
    return Input(uri, downloads, ingredient(found, prefix, result))


def _split(uri: str) -> tuple[str, str]:
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not separator or not bucket:
        raise InputError("bad_input_uri", f"the input {uri!r} is no S3 URI", "Give s3://bucket/prefix/ or a key prefix")
    return bucket, key


def _files_only(found: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Without the empty objects whose key ends in "/": consoles and sync tools make them to show a folder."""
    return [file for file in found if not (file.key.endswith("/") and file.size == 0)]


def _download(file: RemoteFile, folder: Path, name: str) -> Download:
    return Download(file, path_below(folder, name, file.uri))


def _check_disk(size: int, folder: Path) -> None:
    disk = shutil.disk_usage(folder)
    if size + DISK_RESERVE <= disk.free:
        return
    gigabytes = f"{size / 1e9:.1f} GB are to be downloaded, {disk.free / 1e9:.1f} GB of {disk.total / 1e9:.1f} are free"
    larger = "set a larger root volume in Terraform"
    if size + DISK_RESERVE <= disk.total:
        cause = f"{gigabytes} in {folder}: images and other jobs on this machine hold the rest"
        raise RunnerError("disk_full", cause, f"Publish the message again, or {larger}", retryable=True)
    raise InputError("disk_too_small", f"{gigabytes} in {folder}", f"Give less input, or {larger}")


def _unlistable(uri: str, error: ClientError, kind: Callable[..., RunnerError]) -> RunnerError:
    code = error_code(error)
    if code in DENIED:
        return kind(
            "access_denied",
            f"the job role may not read {uri} ({reason(error)})",
            "Use the platform's buckets, or add the bucket to extra_input_buckets in Terraform",
        )
    if code in ("NoSuchBucket", "404", "400"):
        return kind("no_such_bucket", f"{uri} cannot be read ({reason(error)})", "Check the name of the bucket")
    return RunnerError(
        "listing_failed",
        f"{uri} cannot be listed: {reason(error)}",
        "Publish the message again",
        retryable=is_temporary(error),
    )
