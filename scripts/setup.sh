#!/usr/bin/env bash
# Makes .venv and installs one of pyproject's extras into it: scripts/setup.sh demo | all | test | check
# Does nothing when that extra, or one that holds it, is installed for the pyproject.toml and constraints.txt at hand.
set -euo pipefail
cd "$(dirname "$0")/.."

extra=${1:?usage: scripts/setup.sh demo | all | test | check}
torch=torch==2.13.0

say() { printf '[setup] %s\n' "$*"; }
fail() { printf '[setup] error: %s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "Python 3.11 or newer is needed and was not found. Install it, or name one: make PYTHON=/path/to/python3.12 ..."
}

# PyPI's torch for Linux carries gigabytes of CUDA that a laptop has no use for.
install_cpu_torch() {
  if [ "$(uname -s)" != Linux ]; then
    .venv/bin/python -m pip install -q "$torch"
    return
  fi
  .venv/bin/python -m pip install -q "$torch+cpu" 2>/dev/null ||
    .venv/bin/python -m pip install -q "$torch+cpu" --index-url https://download.pytorch.org/whl/cpu
}

# Without python3-venv, Debian's venv leaves a folder with a python that has no pip: neither to be used nor to stay.
make_venv() {
  local folder=$1 there=
  if "$folder/bin/python" -c 'import pip' 2>/dev/null; then
    return
  fi
  if [ -e "$folder" ]; then there=yes; fi
  say "making $folder with $("$python" --version)"
  if "$python" -m venv "$folder"; then
    return
  fi
  if [ -z "$there" ]; then rm -rf "$folder"; fi
  fail "could not make $folder; on Debian and Ubuntu: apt-get install python3-venv"
}

wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
enough=
for each in demo all test check; do # each holds those before it
  if [ "$each" = "$extra" ]; then enough=yes; fi
  stamp=.venv/.installed-$each
  if [ -n "$enough" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
  fi
done
[ -n "$enough" ] || fail "'$extra' is none of demo, all, test and check"

python=$(find_python)
make_venv .venv
if [ "$extra" != demo ]; then
  # Before the packages that need it: they would bring the build with CUDA.
  say "installing $torch, the build for CPUs"
  install_cpu_torch
fi
rm -f .venv/.installed-* # what they tell of may change now
say "installing the packages for '$extra' into .venv (the first time takes a minute or two)"
.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[$extra]"
if [ "$extra" = check ] && [ ! -x .venv-checkov/bin/checkov ]; then
  # checkov pins a boto3 of its own, so it lives apart.
  say "installing checkov into .venv-checkov"
  make_venv .venv-checkov
  .venv-checkov/bin/python -m pip install -q --disable-pip-version-check checkov==3.3.30
fi
echo "$wanted" > ".venv/.installed-$extra"
say "ready"
