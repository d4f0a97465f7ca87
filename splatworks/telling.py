"""What people read on stderr; stdout is for what a program may read."""
