"""Probe the host before the script starts: GPU, memory, disk, and the share of the machine that the job has."""
