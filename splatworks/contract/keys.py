"""Object keys and file names in the buckets that the platform's parts agree on."""

# Input bucket
STAGES_FOLDER = "stages/"  # the platform's own scripts
PHOTOS = "photos/"  # an upload below it can start a run
SCRIPT_FOLDERS = ("stages", "jobs", "examples")  # where a script_key may point
READY = "_READY"  # uploaded into a folder below photos/ it starts a run on that folder
OPTIONS = "pipeline.json"  # options of a run that an upload starts
NOT_INPUT = (READY, OPTIONS)  # they start a run and set its options: they are not photos

# Output bucket
RUNS = "runs/"  # only the platform writes below it
CHECKPOINTS = "checkpoints/"
REQUEST, JOB, RESULT, PROGRESS = "request.json", "job.json", "result.json", "progress.json"
RUNNING = "_RUNNING"  # while an attempt runs: what job.json would be now
SUCCESS = "_SUCCESS"  # written last, if the stage is done
RESERVED = (REQUEST, JOB, RUNNING, SUCCESS)  # a script's files of these names are not uploaded
PLATFORM_FILES = (*RESERVED, PROGRESS)  # a stage that left only these has no output
RUN, SCENES, FAILED_SCENES, CONTINUE = "run.json", "scenes.json", "failed.json", "continue.json"  # of a run
LEADERBOARD = "leaderboard.csv"  # of a sweep


def run_folder(project: str, run_id: str) -> str:
    return f"{RUNS}{project}/{run_id}/"


def stage_place(project: str, run_id: str, stage: str) -> str:
    """The folder of a stage below runs/ and below checkpoints/."""
    return f"{project}/{run_id}/{stage}/"


def child_prefix(prefix: str, array_index: int | None) -> str:
    """The prefix of one child of an array; without an index the prefix itself. Ends in "/"."""
    folder = prefix.rstrip("/") + "/"
    return folder if array_index is None else f"{folder}{array_index}/"


def run_of_prefix(prefix: str) -> str:
    """The run's id in an output prefix, runs/<project>/<run>/<stage>/."""
    return prefix.split("/")[2]


def reuse_key(content_key: str) -> str:
    """The object that names the result with this content key."""
    return f"reuse/{content_key}.json"
