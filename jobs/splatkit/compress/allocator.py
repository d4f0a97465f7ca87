"""Memory that is freed goes back to the system, where the C library lets one ask for it."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGE = 4 << 20  # bytes; smaller blocks are reused without the cost of new pages
KEPT = 32 << 20


def return_large_blocks() -> None:
    """glibc raises its own limit up to 32 MB, and a heap of such holes is a third of the memory that a scene takes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, KEPT)
