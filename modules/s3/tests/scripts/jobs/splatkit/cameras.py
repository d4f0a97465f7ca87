"""A module that travels with the stages."""
