"""The runner: what it adds before a script starts, and how fast it uploads many small files."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from bench.table import Row
from splatworks.contract.keys import REQUEST

ROOT = Path(__file__).parents[1]
RUNS = 5
FILES, FILE_SIZE, LATENCY_SECONDS = 500, 4096, 0.03
SERVER = "from bench.runner_bench import serve; serve()"
BARE_START = "import time, boto3; boto3.client('s3'); print(time.time())"
# What a user would write without the runner.
ONE_BY_ONE = """
import sys, boto3
from pathlib import Path
client = boto3.client("s3")
for path in Path(sys.argv[1]).iterdir():
    client.upload_file(str(path), "bucket", path.name)
"""
POOLED = """
import sys
from pathlib import Path
from jobrunner.store import FileUpload, Store
Store.connect().upload("bucket", [FileUpload(path, path.name) for path in Path(sys.argv[1]).iterdir()])
"""


def rows() -> list[Row]:
    return [start_row(), upload_row()]


def start_row() -> Row:
    """From starting the process to the script's first statement, against importing boto3 and making a client."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request is no table
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        with tempfile.TemporaryDirectory() as folder:
            environment = {**_environment(f"http://{host}:{port}"), **_job(f"http://{host}:{port}", Path(folder))}
            started = Path(folder, "workspace", "output", "started")
            ours = median(_seconds_to_start(environment, started) for _ in range(RUNS))
            bare = [sys.executable, "-c", BARE_START]
            peer = median(_seconds_to_print(bare, environment) for _ in range(RUNS))
    finally:
        server.stop()
    return Row("start of a script", ours, peer, "s", "at most 0.5 s more", "import boto3, make a client")


def upload_row() -> Row:
    server = subprocess.Popen([sys.executable, "-c", SERVER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        environment = _environment(f"http://127.0.0.1:{server.stdout.readline().strip()}")
        with tempfile.TemporaryDirectory() as folder:
            for number in range(FILES):
                Path(folder, f"{number}.json").write_bytes(os.urandom(FILE_SIZE))
            ours = min(_seconds(POOLED, folder, environment) for _ in range(3))
            peer = _seconds(ONE_BY_ONE, folder, environment)
    finally:
        server.kill()
        server.wait()
    what = f"upload of {FILES} small files, {LATENCY_SECONDS * 1000:.0f} ms latency"
    return Row(what, ours, peer, "s", "at most 0.2 times", "boto3 upload_file, one by one")


def serve() -> None:
    """An endpoint that takes every object, LATENCY_SECONDS late."""

    class Late(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(LATENCY_SECONDS)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.send_header("ETag", '"etag"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Late)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def _environment(endpoint: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    return {**ours, **keys, "AWS_ENDPOINT_URL": endpoint, "PYTHONPATH": str(ROOT / "docker")}


def _job(endpoint: str, folder: Path) -> dict[str, str]:
    """A job with a script and ten input files in S3, as the dispatcher leaves it."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
    )
    client.create_bucket(Bucket="bench")
    script = b"import os, time; open(os.environ['OUTPUT_DIR'] + '/started', 'w').write(str(time.time()))"
    client.put_object(Bucket="bench", Key="jobs/script.py", Body=script)
    for number in range(10):
        client.put_object(Bucket="bench", Key=f"photos/{number}.jpg", Body=b"x" * 1000)
    job = {"script_key": "jobs/script.py", "checkpoint_prefix": "checkpoints/", "input": ["s3://bench/photos/"]}
    client.put_object(Bucket="bench", Key=f"run/{REQUEST}", Body=json.dumps({"version": 1, "job": job}))
    return {
        "ML_INPUT_BUCKET": "bench",
        "ML_OUTPUT_BUCKET": "bench",
        "REQUEST_KEY": f"run/{REQUEST}",
        "OUTPUT_PREFIX": "run/",
        "WORKSPACE_DIR": str(folder / "workspace"),
        "MODELS_DIR": str(folder / "models"),
    }


def _seconds_to_start(environment: dict[str, str], started: Path) -> float:
    begun = time.time()
    command = [sys.executable, str(ROOT / "docker" / "runner.py")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return float(started.read_text()) - begun


def _seconds_to_print(command: list[str], environment: dict[str, str]) -> float:
    begun = time.time()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout) - begun


def _seconds(program: str, folder: str, environment: dict[str, str]) -> float:
    return _timed(lambda: subprocess.run([sys.executable, "-c", program, folder], env=environment, check=True))


def _timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun
