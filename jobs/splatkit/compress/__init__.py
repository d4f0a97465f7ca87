"""From a splat to the smallest file that looks the same."""
