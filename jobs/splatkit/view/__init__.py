"""Pictures, films and pages of splats."""
