#!/usr/bin/env bash
# The images live in docker/ of the repository; this is the same command from here.
exec "$(dirname "${BASH_SOURCE[0]}")/../../../docker/build-and-push.sh" "$@"
