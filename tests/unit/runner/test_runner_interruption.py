"""SIGTERM, lost hosts, checkpoints: a retry goes on where the attempt before was and ends with the same result."""

import json
import time
from typing import Any

QUICK = "progress=0.2, checkpoints=0.2, checkpoints_soon=0.1, patience=0.3, stop=1.5"

# Counts to 20, a step each 0.1 s; stops politely with a checkpoint.
COUNT = """
import os, signal, sys, time
from pathlib import Path
state = Path(os.environ["CHECKPOINT_DIR"]) / "deep" / "state.txt"
state.parent.mkdir(exist_ok=True)
done = [int(line) for line in state.read_text().split()] if state.exists() else []
print("begins at", len(done))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
for step in range(len(done), 20):
    time.sleep(0.1)
    done.append(step)
    beside = state.with_suffix(".tmp")
    beside.write_text(" ".join(map(str, done)))
    beside.replace(state)
(Path(os.environ["OUTPUT_DIR"]) / "counted.txt").write_text(" ".join(map(str, done)))
"""
WHOLE = " ".join(map(str, range(20)))
NOTHING_KNOWN = {  # of a first attempt that left no report
    "attempt": 1,
    "ended_at": None,
    "seconds": None,
    "usd": None,
    "stop_requested": None,
    "bad_host": False,
    "job_id": None,
}


def test_a_retry_after_sigterm_goes_on_and_ends_with_the_same_result(job: Any) -> None:
    job.script(COUNT)
    process = job.start(timings=QUICK)
    first = job.stop_when(process, lambda: (job.workspace / "checkpoints/deep/state.txt").exists())
    assert first.exit_code == 75
    report = job.report
    assert (report["ended"], report["exit_code"], report["attempt"]) == ("interrupted", 75, 1)
    assert report["error"]["retryable"] is True
    assert "_SUCCESS" not in job.objects()

    second = job.run(attempt=2)

    assert second.exit_code == 0 and "begins at 0" not in second.stdout
    assert job.read("counted.txt") == WHOLE
    lost = job.report["interruptions"]
    assert [each["attempt"] for each in lost] == [1]
    assert lost[0]["seconds"] == report["seconds"]["total"] and lost[0]["ended_at"] == report["ended_at"]


def test_a_host_lost_without_notice_costs_only_what_was_not_mirrored(job: Any) -> None:
    job.script(COUNT)
    process = job.start(timings=QUICK)
    job.wait_until(lambda: "deep/state.txt" in job.objects(job.checkpoints) and "_RUNNING" in job.objects())
    job.lose_host(process)
    assert job.read("job.json") is None

    second = job.run(attempt=2)

    assert second.exit_code == 0 and "begins at 0" not in second.stdout
    assert job.read("counted.txt") == WHOLE


def test_a_host_lost_before_its_first_sign_of_life_is_listed_without_numbers(job: Any) -> None:
    job.script("pass")
    job.run(attempt=2)
    assert job.report["interruptions"] == [NOTHING_KNOWN]


def test_two_reclaims_with_and_without_notice_are_both_told_and_the_result_is_the_same(job: Any) -> None:
    job.script(COUNT)
    first = job.stop_when(job.start(timings=QUICK), (job.workspace / "checkpoints/deep/state.txt").exists)
    assert first.exit_code == 75
    told = job.report

    process = job.start(attempt=2, timings=QUICK)
    mirrored = len(job.read("deep/state.txt", job.checkpoints).split())
    job.wait_until(lambda: len(job.read("deep/state.txt", job.checkpoints).split()) > mirrored)
    job.wait_until(lambda: job.read("_RUNNING"))
    alive = json.loads(job.read("_RUNNING"))
    job.lose_host(process)
    assert (alive["ended"], alive["exit_code"], alive["attempt"]) == ("running", None, 2)
    assert [each["attempt"] for each in alive["interruptions"]] == [1]
    alive = json.loads(job.read("_RUNNING"))  # another may have come just before the end

    third = job.run(attempt=3)

    assert third.exit_code == 0 and "begins at 0" not in third.stdout
    assert job.read("counted.txt") == WHOLE
    assert job.report["interruptions"] == [
        {
            "attempt": 1,
            "ended_at": told["ended_at"],
            "seconds": told["seconds"]["total"],
            "usd": None,
            "stop_requested": True,
            "bad_host": False,
            "job_id": None,
        },
        {
            "attempt": 2,
            "ended_at": alive["ended_at"],
            "seconds": alive["seconds"]["total"],
            "usd": None,
            "stop_requested": None,
            "bad_host": False,
            "job_id": None,
        },
    ]
    assert alive["seconds"]["total"] >= 1
    assert set(job.objects()) == {"request.json", "counted.txt", "job.json", "_SUCCESS"}


def test_a_job_that_ends_leaves_no_sign_of_life(job: Any) -> None:
    job.script("import time; time.sleep(2)")
    process = job.start()
    job.wait_until(lambda: "_RUNNING" in job.objects())
    assert job.finish(process).exit_code == 0
    assert "_RUNNING" not in job.objects()


def test_a_checkpoint_that_is_written_all_the_time_is_no_older_in_s3_than_the_interval(job: Any) -> None:
    interval = 10
    job.script("""
import os, time
path = os.environ["CHECKPOINT_DIR"] + "/state"
while True:  # whenever one looks, the file was written a moment ago
    with open(path + ".new", "w") as file:
        file.write(str(time.time()))
    os.replace(path + ".new", path)
    time.sleep(0.05)
""")
    process = job.start(timings=f"checkpoints={interval}, checkpoints_soon=0.1, patience=0.5")
    begun = job.workspace / "checkpoints" / "state"
    job.wait_until(begun.exists)
    seen = time.monotonic()
    job.wait_until(lambda: "state" in job.objects(job.checkpoints))
    assert time.monotonic() - seen < interval + 8  # one round more would be 20
    job.lose_host(process)


def test_interruptions_add_up_over_attempts(job: Any) -> None:
    job.script("raise SystemExit(75)")
    job.run(attempt=1)
    job.run(attempt=2)
    job.run(attempt=4)
    assert [(each["attempt"], each["seconds"] is None) for each in job.report["interruptions"]] == [
        (1, False), (2, False), (3, True),
    ]  # fmt: skip


def test_another_jobs_report_under_the_same_prefix_is_not_taken_over(job: Any) -> None:
    job.script("raise SystemExit(75)")
    job.run(attempt=1, AWS_BATCH_JOB_ID="an-earlier-job")
    job.s3.put_object(Bucket=job.output_bucket, Key=f"{job.prefix}_RUNNING", Body=job.read("job.json"))
    job.run(attempt=2)
    assert job.report["interruptions"] == [NOTHING_KNOWN]


def test_a_script_that_ignores_sigterm_is_killed_and_its_output_uploaded(job: Any) -> None:
    job.script("""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(os.environ["OUTPUT_DIR"] + "/half.txt", "w").write("half")
time.sleep(600)
""")
    process = job.start(timings=QUICK)
    ended = job.stop_when(process, lambda: (job.workspace / "output/half.txt").exists())  # waits a minute at most
    assert ended.exit_code == 75
    assert (job.report["exit_code"], job.report["stop_requested"]) == (137, True)
    assert job.report["ended"] == "interrupted" and job.report["oom_kill"] is False
    assert job.read("half.txt") == "half"


def test_sigterm_goes_to_the_script_and_not_to_its_workers(job: Any) -> None:
    job.script("""
import os, signal, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(30)"], stdout=-1)
worker.stdout.readline()
def stop(*_):
    time.sleep(0.5)
    print("worker alive:", worker.poll() is None)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
open(os.environ["OUTPUT_DIR"] + "/ready", "w").close()
time.sleep(60)
""")
    ended = job.stop_when(job.start(), lambda: (job.workspace / "output/ready").exists())
    assert ended.exit_code == 75 and "worker alive: True" in ended.stdout


def test_sigterm_during_the_installation_ends_at_once_with_75(job: Any, tmp_path: Any) -> None:
    package = tmp_path / "slow"
    package.mkdir()
    build = '[build-system]\nrequires = []\nbuild-backend = "slow"\nbackend-path = ["."]\n'
    (package / "pyproject.toml").write_text(f'{build}[project]\nname = "slow"\nversion = "1"\n')
    (package / "slow.py").write_text(
        f"import time\nopen({str(tmp_path / 'building')!r}, 'w').close()\ntime.sleep(60)\n"
    )
    job.put("jobs/script.requirements.txt", str(package))
    job.script("print('never')")
    process = job.start(timings=QUICK)
    ended = job.stop_when(process, lambda: (tmp_path / "building").exists())
    assert ended.exit_code == 75 and "never" not in ended.stdout
    assert job.report["ended"] == "interrupted"


def test_checkpoints_are_mirrored_while_the_script_runs_with_changes_and_deletions(job: Any) -> None:
    job.script("""
import os, time
from pathlib import Path
folder = Path(os.environ["CHECKPOINT_DIR"])
(folder / "old.txt").write_text("1")
(folder / "kept.txt").write_text("1")
wait = lambda name: [time.sleep(0.05) for _ in iter(lambda: not (Path(os.environ["INPUT_DIR"]) / name).exists(), False)]
wait("go on")
(folder / "old.txt").unlink()
(folder / "kept.txt").write_text("22")
(folder / "new.txt").write_text("333")
wait("end")
""")
    process = job.start(timings=QUICK)
    job.wait_until(lambda: set(job.objects(job.checkpoints)) == {"old.txt", "kept.txt"})
    (job.workspace / "input" / "go on").touch()
    job.wait_until(lambda: set(job.objects(job.checkpoints)) == {"kept.txt", "new.txt"})
    job.wait_until(lambda: job.read("kept.txt", job.checkpoints) == "22")
    (job.workspace / "input" / "end").touch()
    assert job.finish(process).exit_code == 0


def test_the_last_checkpoint_is_mirrored_after_the_script_and_restored_ones_are_not_sent_again(job: Any) -> None:
    job.s3.put_object(Bucket=job.output_bucket, Key=f"{job.checkpoints}big.bin", Body=b"restored")
    before = job.objects(job.checkpoints)["big.bin"]["LastModified"]
    time.sleep(1.1)  # S3 counts seconds
    job.script(
        "import os; os.chdir(os.environ['CHECKPOINT_DIR']); print(open('big.bin').read()); open('z', 'w').write('z')"
    )
    assert "restored" in job.run().stdout
    after = job.objects(job.checkpoints)
    assert set(after) == {"big.bin", "z"} and after["big.bin"]["LastModified"] == before


def test_links_in_the_checkpoint_folder_are_not_followed(job: Any, tmp_path: Any) -> None:
    (tmp_path / "private").write_text("private")
    job.script(f"import os; os.symlink('{tmp_path}/private', os.environ['CHECKPOINT_DIR'] + '/link')")
    assert job.run().exit_code == 0
    assert job.objects(job.checkpoints) == {}


def test_progress_is_in_s3_while_the_script_runs(job: Any) -> None:
    job.script("""
import json, os, time
from pathlib import Path
path = Path(os.environ["OUTPUT_DIR"]) / "progress.json"
for fraction in (0.25, 0.75):
    path.write_text(json.dumps({"fraction": fraction}))
    while not (path.parent / str(fraction)).exists():
        time.sleep(0.05)
""")
    process = job.start(timings=QUICK)
    for fraction in (0.25, 0.75):
        job.wait_until(lambda wanted=fraction: json.loads(job.read("progress.json") or "{}").get("fraction") == wanted)
        assert job.outputs() == {"progress.json"}
        (job.workspace / "output" / str(fraction)).touch()
    assert job.finish(process).exit_code == 0


def test_files_that_only_an_interrupted_attempt_wrote_are_not_in_the_result(job: Any) -> None:
    job.script("""
import os, sys
attempt = os.environ["AWS_BATCH_JOB_ATTEMPT"]
open(os.environ["OUTPUT_DIR"] + f"/of-{attempt}.txt", "w").write(attempt)
sys.exit(75 if attempt == "1" else 0)
""")
    job.run(attempt=1)
    assert job.outputs() == {"of-1.txt"}
    job.run(attempt=2)
    assert set(job.objects()) == {"of-2.txt", "request.json", "job.json", "_SUCCESS"}


OWN_OBJECTS = """
import os, sys, boto3
attempt, bucket, prefix = (os.environ[name] for name in ("AWS_BATCH_JOB_ATTEMPT", "ML_OUTPUT_BUCKET", "OUTPUT_PREFIX"))
s3 = boto3.client("s3")
s3.put_object(Bucket=bucket, Key=prefix + "own/same.txt", Body=b"the same in every attempt")
s3.put_object(Bucket=bucket, Key=prefix + "own/new.txt", Body=attempt)
s3.put_object(Bucket=bucket, Key=prefix + f"own/of-{attempt}.txt", Body=b"x")
open(os.environ["OUTPUT_DIR"] + f"/of-{attempt}.txt", "w").write(attempt)
sys.exit(75 if attempt == "1" else 0)
"""


def test_a_retry_keeps_what_its_script_wrote_into_the_output_by_itself(job: Any) -> None:
    job.script(OWN_OBJECTS)
    job.run(attempt=1)
    assert job.outputs() == {"of-1.txt", "own/of-1.txt", "own/same.txt", "own/new.txt"}
    time.sleep(1.1)  # S3 counts seconds
    job.run(attempt=2)
    assert job.outputs() == {"of-2.txt", "own/of-1.txt", "own/of-2.txt", "own/same.txt", "own/new.txt"}


def test_a_retry_keeps_what_its_script_copied_or_wrote_over_what_the_runner_had_uploaded(job: Any) -> None:
    job.script("""
import os, sys, boto3
attempt, bucket, prefix = (os.environ[name] for name in ("AWS_BATCH_JOB_ATTEMPT", "ML_OUTPUT_BUCKET", "OUTPUT_PREFIX"))
s3, output = boto3.client("s3"), os.environ["OUTPUT_DIR"]
if attempt == "1":
    for name in ("left.txt", "written-over.txt", "progress.json"):
        open(f"{output}/{name}", "w").write("{}")
    open(f"{output}/large.bin", "wb").write(bytes(9 * 2**20))
if attempt == "2":
    source = {"Bucket": bucket, "Key": prefix + "left.txt"}
    s3.copy_object(Bucket=bucket, Key=prefix + "copied.txt", CopySource=source)
    s3.put_object(Bucket=bucket, Key=prefix + "written-over.txt", Body=b"{}")
sys.exit(0 if attempt == "3" else 75)
""")
    job.run(attempt=1)
    assert job.outputs() == {"left.txt", "written-over.txt", "progress.json", "large.bin"}
    time.sleep(1.1)  # S3 counts seconds
    job.run(attempt=2)
    job.run(attempt=3)
    assert job.outputs() == {"copied.txt", "written-over.txt"}


def test_a_retry_that_cannot_tell_who_uploaded_what_removes_nothing(job: Any) -> None:
    job.script(OWN_OBJECTS)
    job.run(attempt=1)
    job.prelude = """
import jobrunner.store as s
def fail(self, file):
    raise OSError("connection reset")
s.Store._has_place = fail
"""
    ended = job.run(attempt=2)
    assert ended.exit_code == 0 and "stay in" in ended.stderr and "connection reset" in ended.stderr
    assert {"of-1.txt", "of-2.txt"} <= job.outputs()


def test_a_retry_that_cannot_list_what_earlier_attempts_left_removes_nothing(job: Any) -> None:
    job.script(OWN_OBJECTS)
    job.run(attempt=1)
    job.prelude = """
import jobrunner.store as s
real = s.Store.list
def list(self, bucket, prefix, **more):
    if prefix.startswith("runs/"):
        s.Store.list = real
        raise OSError("connection reset")
    return real(self, bucket, prefix, **more)
s.Store.list = list
"""
    ended = job.run(attempt=2)
    assert ended.exit_code == 0 and "stay in" in ended.stderr and "connection reset" in ended.stderr
    assert {"of-1.txt", "of-2.txt"} <= job.outputs()


def test_a_resumed_job_goes_on_from_the_checkpoint_and_counts_what_the_job_before_it_lost(job: Any) -> None:
    job.script(COUNT)
    first = job.stop_when(
        job.start(timings=QUICK, AWS_BATCH_JOB_ID="before"), (job.workspace / "checkpoints/deep/state.txt").exists
    )
    assert first.exit_code == 75
    told = job.report

    job.request["resumes_job"] = "before"
    second = job.run()

    assert second.exit_code == 0 and "begins at 0" not in second.stdout
    assert job.read("counted.txt") == WHOLE
    (lost,) = job.report["interruptions"]
    assert (lost["job_id"], lost["attempt"], lost["seconds"]) == ("before", 1, told["seconds"]["total"])


def test_what_resumed_jobs_have_lost_adds_up_over_resumptions_and_attempts(job: Any) -> None:
    job.script("raise SystemExit(75)")
    job.run(AWS_BATCH_JOB_ID="first")
    job.request["resumes_job"] = "first"
    job.run(AWS_BATCH_JOB_ID="second")
    job.run(attempt=2, AWS_BATCH_JOB_ID="second")
    job.request["resumes_job"] = "second"
    job.run(AWS_BATCH_JOB_ID="third")
    lost = [(each["job_id"], each["attempt"]) for each in job.report["interruptions"]]
    assert lost == [("first", 1), ("second", 1), ("second", 2)]


def test_a_job_that_resumes_another_takes_over_nothing_of_a_third(job: Any) -> None:
    job.script("raise SystemExit(75)")
    job.run(AWS_BATCH_JOB_ID="a-third")
    job.request["resumes_job"] = "before"
    job.run()
    assert job.report["interruptions"] == []
