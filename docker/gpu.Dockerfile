# ml-python: what GPU jobs run in. Build it from the repository's root: docker build -f docker/gpu.Dockerfile .
# CUDA 13.0 needs driver 580, which ECS_AL2023_NVIDIA has. Another BASE_IMAGE must be Debian or Ubuntu with apt.
ARG BASE_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04
ARG BUILD_IMAGE=nvidia/cuda:13.0.1-devel-ubuntu24.04
# The compute capabilities that gsplat is compiled for: T4 (7.5), A10G (8.6), L4 and L40S (8.9), H100 (9.0), and by the
# driver for later ones (+PTX). The runner compares the host's GPU with it.
ARG TORCH_CUDA_ARCH_LIST="7.5;8.6;8.9;9.0+PTX"

FROM ${BUILD_IMAGE} AS build
# The base image's release of Ubuntu decides these versions; a pin would break as soon as Ubuntu publishes a fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential ca-certificates python3 python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /build
COPY pyproject.toml constraints.txt docker/gpu-requirements.txt ./
RUN python3 -m venv /opt/venv \
    && python -m pip install -c constraints.txt -r gpu-requirements.txt ".[runner,train,compress]"

# On PyPI gsplat is CUDA source that compiles at first use: minutes of a paid GPU in every job, and nvcc in the image.
# Here it is compiled once; building needs no GPU.
# PLAS is not on PyPI. This commit is PyTorch alone, without an extension to compile.
ARG TORCH_CUDA_ARCH_LIST
ARG MAX_JOBS=4
ARG PLAS_COMMIT=e4e83cea1b0501dd026ba47d5a0717897d71a004
RUN python -m pip install --no-deps --no-build-isolation --force-reinstall --no-binary gsplat gsplat==1.5.3 \
    && python -m pip install --no-deps --no-build-isolation "https://github.com/fraunhoferhhi/PLAS/archive/${PLAS_COMMIT}.tar.gz" \
    && python -c "import torch; from gsplat import csrc"

FROM ${BASE_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates ffmpeg libgl1 libglib2.0-0 libgomp1 python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

ARG TORCH_CUDA_ARCH_LIST
ENV PATH=/opt/venv/bin:$PATH \
    CUDA_ARCHITECTURES=$TORCH_CUDA_ARCH_LIST \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

COPY --from=build /opt/venv /opt/venv
RUN python -c "import boto3, gsplat, numba, plas, pycolmap, tensorflow, torch"

# Jobs run as root: the workspace is the instance's disk, /opt/models belongs to what the EFS access point says, and
# the container has no privileges beyond its own files. Stages get no credentials (docker/runner.py).
COPY docker/runner.py /opt/runner/
COPY docker/jobrunner /opt/runner/jobrunner
COPY splatworks/__init__.py /opt/runner/splatworks/
COPY splatworks/contract /opt/runner/splatworks/contract
RUN mkdir -p /workspace /opt/models
WORKDIR /workspace
ENTRYPOINT ["python", "/opt/runner/runner.py"]
