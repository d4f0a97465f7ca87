"""The command line `splatworks`. It is optional: `aws sns publish` starts the same runs."""
