"""The table of stages."""
