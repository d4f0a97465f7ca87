"""Before the script: the request as one child sees it, and all that must be on the disk."""
