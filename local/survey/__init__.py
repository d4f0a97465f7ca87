"""Render a drone survey of a procedural town, with exact poses and GPS."""
