# ml-python-slim: what CPU jobs run in. Build it from the repository's root: docker build -f docker/cpu.Dockerfile .
# Another BASE_IMAGE works as long as it is Debian or Ubuntu with apt, python3 >= 3.11 and its venv module.
ARG BASE_IMAGE=python:3.12.12-slim-bookworm
FROM ${BASE_IMAGE}

# FFmpeg for video and sound, libgomp and libgl for what pycolmap and PyTorch load.
# The base image's release of Debian decides these versions; a pin would break as soon as Debian publishes a fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates ffmpeg libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /build
COPY pyproject.toml constraints.txt docker/cpu-requirements.txt ./
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /opt/venv \
    && python -m pip install --extra-index-url "${TORCH_INDEX}" -c constraints.txt -r cpu-requirements.txt ".[runner,train,compress]" \
    && python -c "import boto3, faster_whisper, numba, pyannote.audio, pycolmap, torch"

# Jobs run as root: the workspace is the instance's disk, /opt/models belongs to what the EFS access point says, and
# the container has no privileges beyond its own files. Stages get no credentials (docker/runner.py).
COPY docker/runner.py /opt/runner/
COPY docker/jobrunner /opt/runner/jobrunner
COPY splatworks/__init__.py /opt/runner/splatworks/
COPY splatworks/contract /opt/runner/splatworks/contract
RUN mkdir -p /workspace /opt/models
WORKDIR /workspace
ENTRYPOINT ["python", "/opt/runner/runner.py"]
