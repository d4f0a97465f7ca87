"""How much of a stranger's file is believed before memory is taken for it."""

MAX_SPLATS = 50_000_000
ALWAYS_BELIEVED = 1_000_000
SPLATS_PER_BYTE = 4


def require_believable(count: int, held: int) -> None:
    """Raises ValueError where `held` compressed bytes cannot honestly be `count` splats.

    Compression has no least size: identical splats, or invisible ones that repeat one pixel, take almost nothing, so
    that a few kilobytes can claim gigabytes. A splat that shows takes 5 bytes or more in any scene that was trained:
    four in a byte leave room for 95 % that do not show. A million at once takes 0.6 GB at most.
    """
    if count > max(ALWAYS_BELIEVED, SPLATS_PER_BYTE * held):
        raise ValueError(f"{count:,} splats are announced, which {held:,} bytes cannot hold")
