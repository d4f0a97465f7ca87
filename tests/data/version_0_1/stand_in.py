"""A stage that takes no time: it writes its input and parameters to seen.json, and ends as `code` of PARAM_CODE says.

It runs within the frame (splatkit) of the version whose documents are saved here.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from splatkit.errors import INTERRUPTED, StageError
from splatkit.stage import Progress, run_stage

INPUT, OUTPUT = Path(os.environ["INPUT_DIR"]), Path(os.environ["OUTPUT_DIR"])


def work() -> dict[str, Any]:
    progress = Progress(Path(__file__).stem, OUTPUT, {"look": 1})
    progress.begin("look", "looking at the input", total=1)
    code = int(os.environ.get("PARAM_CODE", "0"))
    if code and code != INTERRUPTED:
        raise StageError("bad_photos", "the photos are as bad as the test wants", "Leave `code` out.", exit_code=code)
    files = [path.relative_to(INPUT).as_posix() for path in sorted(INPUT.rglob("*")) if path.is_file()]
    parameters = json.loads(Path(os.environ["PARAMETERS_FILE"]).read_text())
    (OUTPUT / "seen.json").write_text(json.dumps({"files": files, "parameters": parameters}))
    progress.finish()
    return {"files": len(files)}


ended = run_stage(Path(__file__).stem, OUTPUT, work)
is_first = os.environ.get("AWS_BATCH_JOB_ATTEMPT", "1") == "1"
sys.exit(INTERRUPTED if os.environ.get("PARAM_CODE") == str(INTERRUPTED) and is_first else ended)
