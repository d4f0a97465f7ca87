"""What dispatcher, runner, monitor, command line and stages promise each other. Standard library only."""
