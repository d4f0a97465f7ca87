"""From a message to a plan: everything that can be decided without asking AWS."""
