"""The clean-up script."""
