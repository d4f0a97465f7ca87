"""One embedded AWS with Terraform applied to it, for all flow tests of a run."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.embedded_aws import EmbeddedAWS

ROOT = Path(__file__).parents[2]
HURRY = 20  # an attempt timeout of a minute is over in three seconds


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back on all comes last."""
    last = ("test_roles_allow", "test_destroy")
    items.sort(key=lambda item: max(item.name.startswith(name) * (1 + last.index(name)) for name in last))


# Of the package, for which this folder has an __init__.py: gone before the next unit test begins in this process.
@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAWS]:
    subprocess.run([sys.executable, ROOT / "modules" / "lambda" / "build.py"], cwd=ROOT, check=True)
    # Kept where SPLATWORKS_FLOW_FOLDER says, to look at e-mails and state after a failure.
    given = os.environ.get("SPLATWORKS_FLOW_FOLDER")
    folder = Path(given) if given else tmp_path_factory.mktemp("platform")
    with EmbeddedAWS(folder, hurry=HURRY) as aws:
        aws.apply({"start_on_upload": True})
        yield aws


@pytest.fixture
def script(platform: EmbeddedAWS) -> Callable[..., dict[str, Any]]:
    """Uploads a script under a name of its own; returns the `data` of a message that runs it."""

    def upload(text: str, **data: Any) -> dict[str, Any]:
        key = f"jobs/flow-{uuid.uuid4().hex[:8]}.py"
        platform.client("s3").put_object(
            Bucket=platform.outputs["ml_input_bucket"], Key=key, Body=text.encode(), ContentType="text/x-python"
        )
        return {"script_key": key, "compute_type": "cpu", "job_name": Path(key).stem, **data}

    return upload
