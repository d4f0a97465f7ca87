"""Run `make local`: serve the platform on this machine for aws commands in another shell."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from local.embedded_aws import EmbeddedAWS, FolderInUseError
from local.terraform.project import TerraformError, check_installed
from splatworks.sandbox.moto_server import PortInUseError

NEXT = """
The platform is up at {url}. In another shell:

  source {env}
  TOPIC_ARN=$(terraform output -raw trigger_events_topic_arn)
  INPUT_BUCKET=$(terraform output -raw ml_input_bucket)
  aws s3 cp script.py s3://$INPUT_BUCKET/jobs/train.py
  aws sns publish --topic-arn "$TOPIC_ARN" --message \\
    '{{"trigger_type": "batch_job", "data": {{"script_key": "jobs/train.py", "compute_type": "cpu"}}}}'
  aws batch list-jobs --job-queue ${{PROJECT_NAME}}-ml-cpu-job-queue --job-status RUNNING
  aws logs tail /aws/batch/${{PROJECT_NAME}}-ml-jobs

E-mails arrive in {outbox}. Jobs see this machine's Python, not the container images.
Without a GPU, train on the CPU: "train": {{"compute_type": "cpu"}} and "preset": "draft" in a message; --cpu train.
Ctrl-C stops the running jobs and the platform; nothing is kept but the e-mails.
"""


def main(folder: Path, port: int, concurrency: int) -> int:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        check_installed()
        with EmbeddedAWS(folder, port=port, concurrency=concurrency, log=_say) as aws:
            aws.apply()
            env = shlex.quote(str(aws.folder / "env"))
            _say(NEXT.format(url=aws.endpoint_url, env=env, outbox=aws.outbox))
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        _say("stopped")
        return 0
    except (TerraformError, FolderInUseError, PortInUseError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)
