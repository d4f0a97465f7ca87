"""How an attempt ends for good. Terraform's retry rules say the same in AWS Batch's words; a test compares them.

Everything else is retried while there are attempts left: a host that is gone (exit code 137, 143 or none at all), a
fault of ECS, Docker or the registry, a runner that crashed.
"""

from splatworks.contract.exit_codes import FINAL

# Starts of the reason that ECS gives of a container.
OUT_OF_MEMORY = "OutOfMemoryError"  # the kernel killed the container's first process
# An image that does not exist. The ECS agent asks the registry for the digest of a tag first (since version 1.83:
# github.com/aws/amazon-ecs-agent/pull/4177), and passes on its answer: "manifest unknown: manifest unknown" of Docker
# Hub, "manifest unknown: Requested image not found" of ECR. It pulls an image that is named by digest at once, and so
# did older agents by tag; Docker then says "manifest for NAME not found: manifest unknown: ...", of both registries
# (moby, distribution/errors.go). Both texts: amazon-ecs-agent, TestInvalidImageInteg.
# Each registry has another text for a missing repository, often the same as for a lack of permissions. So a missing
# repository is retried, at the price of two more starts.
MISSING_IMAGE = (
    "CannotPullImageManifestError: Error response from daemon: manifest unknown",
    "CannotPullContainerError: Error response from daemon: manifest for",
)

FINAL_CODES = tuple(str(int(code)) for code in FINAL)
FINAL_REASONS = (OUT_OF_MEMORY, *MISSING_IMAGE)
