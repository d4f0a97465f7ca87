"""Files that a job's container and its host exchange, in one folder of the host that each container mounts.

The watcher on the host (modules/batch/host) writes the notices that EC2 gives in its instance metadata, as it found
them. The runner writes BAD_HOST; the watcher then drains and stops the host.
"""

HOST_FOLDER = "/run/splatworks"  # the same on the host and in the container
HOST_DIR = "HOST_DIR"  # environment variable that overrides the folder, set by the embedded AWS

INTERRUPTION = "interruption.json"  # {"action": "terminate", "time": "2026-12-01T09:02:00Z"}: spot/instance-action
REBALANCE = "rebalance.json"  # {"noticeTime": "2026-12-01T09:00:00Z"}: events/recommendations/rebalance
BAD_HOST_ERROR = "bad_host"  # `error.code` of job.json if the host is at fault; the job is retried
BAD_HOST = "bad-host.json"  # {"job_id": "…", "cause": "…"}: the host's GPU does not work
DRAINED = "drained"  # empty; after BAD_HOST: the host gets no new tasks, so a retry starts on another
