"""The script and the machine that it runs on: processes, signals, folders, environment, cost."""
