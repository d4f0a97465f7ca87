"""The variables that a script finds are those that Terraform, the dispatcher and the runner set."""

import json
import re
from pathlib import Path

from splatworks.contract.environment import SCRIPT_VARIABLES

ROOT = Path(__file__).resolve().parents[3]
NOT_FOR_SCRIPTS = {"PROJECT_NAME", "REQUEST_KEY", "RUN_KEY"}  # the runner's


def set_by(program: str) -> set[str]:
    return {name for name, each in SCRIPT_VARIABLES.items() if each.set_by == program}


def test_the_job_definition_sets_its_variables() -> None:
    jobs = (ROOT / "modules" / "batch" / "jobs.tf").read_text()
    names = set(re.findall(r'\{ name = "([A-Z_]+)", value = ', jobs))
    assert names - NOT_FOR_SCRIPTS == set_by("job definition")


def test_the_dispatcher_sets_its_variables() -> None:
    from splatworks.planning.job_plan import plan_job
    from splatworks.planning.message import parse
    from splatworks.planning.settings import Compute, DispatcherSettings, Instance

    compute = Compute(
        queue="queue",
        on_demand_queue=None,
        job_definition="definition",
        vcpus=1,
        memory=128,
        gpus=0,
        max_vcpus=2,
        instances=(Instance(type="c7i.large", vcpus=2, memory=3800, gpus=0),),
        image="image",
    )
    settings = DispatcherSettings(
        project_name="demo",
        input_bucket="demo-input",
        output_bucket="demo-output",
        models_bucket="demo-models",
        extra_input_buckets=(),
        compute={"cpu": compute},
        retry_rules=[],
        notification_topic_arn="",
        trigger_topic_arn="",
        dlq_url="",
        idempotency_table="",
    )
    message = {
        "trigger_type": "batch_job",
        "data": {"script_key": "jobs/a.py", "compute_type": "cpu"},
        "metadata": {"user": "a", "project": "b", "experiment": "c"},
    }
    submission = plan_job(parse(json.dumps(message), "id"), settings).submission
    names = {each["name"] for each in submission["containerOverrides"]["environment"]}
    assert names - NOT_FOR_SCRIPTS - {"OUTPUT_PREFIX"} == set_by("dispatcher")  # the runner adds the array's index


def test_the_runner_sets_its_variables() -> None:
    from jobrunner.run.environment import script_environment, with_thread_counts
    from jobrunner.settings import Settings
    from splatworks.contract.documents.request import JobRequest

    names = {
        "ML_INPUT_BUCKET": "in",
        "ML_OUTPUT_BUCKET": "out",
        "REQUEST_KEY": "runs/a/b/c/request.json",
        "OUTPUT_PREFIX": "runs/a/b/c/",
    }
    job = JobRequest(
        script_key="jobs/a.py", checkpoint_prefix="c/", parameters={"lr": 0.1}, operation="clean", output_prefix="o/"
    )
    found = set(with_thread_counts(script_environment(job, Settings.from_environment(names), {}), 2, 4))
    expected = {name.replace("<NAME>", "LR") for name in set_by("runner")}
    assert expected - found == set()
    assert found - expected <= {"PYTHONUNBUFFERED"}
