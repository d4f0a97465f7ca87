"""Long experiments: what breaks, how often, and what it costs. `make torture PART=spot`; CI runs short versions."""
