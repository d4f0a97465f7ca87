#!/usr/bin/env bash
# Builds the job images and pushes them to the platform's ECR repositories.
set -euo pipefail

readonly IMAGES=(ml-python ml-python-slim)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

main() {
  [[ ${1:-} == -h || ${1:-} == --help ]] && usage && exit 0
  [[ $# -eq 3 || $# -eq 4 ]] || { usage >&2; exit 2; }
  local region=$1 account=$2 project=$3
  local wanted=("${IMAGES[@]}")
  if [[ $# -eq 4 ]]; then wanted=("$4"); fi
  check_arguments "$region" "$account" "$project" "${wanted[@]}"
  check_tools

  local registry="$account.dkr.ecr.$region.amazonaws.com"
  [[ $region == cn-* ]] && registry+=.cn
  log_in "$region" "$registry"
  local image
  for image in "${wanted[@]}"; do
    build_and_push "$image" "$registry/$project-$image"
  done
}

usage() {
  cat <<USAGE
Usage: build-and-push.sh REGION ACCOUNT PROJECT [IMAGE]

  REGION   of AWS, e.g. us-east-1
  ACCOUNT  12 digits: aws sts get-caller-identity --query Account --output text
  PROJECT  project_name of Terraform, which made the repositories PROJECT-ml-python and PROJECT-ml-python-slim
  IMAGE    ml-python (GPU) or ml-python-slim (CPU); both when left out
USAGE
}

check_arguments() {
  local region=$1 account=$2 project=$3 image
  shift 3
  [[ $region =~ ^[a-z]{2}(-[a-z]+)+-[0-9]$ ]] || fail "REGION '$region' is not an AWS region such as us-east-1"
  [[ $account =~ ^[0-9]{12}$ ]] || fail "ACCOUNT '$account' is not the 12 digits of an AWS account"
  [[ $project =~ ^[a-z][a-z0-9-]*[a-z0-9]$ ]] ||
    fail "PROJECT '$project' is not a project_name: lower-case letters, digits and hyphens, a letter first"
  for image in "$@"; do
    [[ $image == ml-python || $image == ml-python-slim ]] || fail "IMAGE '$image' is unknown, known are: ${IMAGES[*]}"
  done
}

check_tools() {
  command -v docker >/dev/null || fail "docker is not installed: https://docs.docker.com/engine/install/"
  command -v aws >/dev/null || fail "the AWS CLI is not installed: https://docs.aws.amazon.com/cli/"
  docker info >/dev/null 2>&1 || fail "the Docker daemon does not answer: start it, or check that you may use it (docker info)"
}

log_in() {
  local region=$1 registry=$2 password
  # Into a variable first: in a pipe docker would report an empty password, not what AWS said.
  password=$(aws ecr get-login-password --region "$region") ||
    fail "AWS gave no password for ECR: check your credentials with aws sts get-caller-identity"
  docker login --username AWS --password-stdin "$registry" <<<"$password" || fail "docker could not log in to $registry"
}

build_and_push() {
  local image=$1 repository=$2 dockerfile=gpu tag
  [[ $image == ml-python-slim ]] && dockerfile=cpu
  tag=$(version)
  echo "building $repository:$tag"
  # amd64 whatever this machine is: the instance types of both queues are.
  # Without attestations, which are images of their own to ECR: its lifecycle rule keeps five.
  BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform linux/amd64 --file "$root/docker/$dockerfile.Dockerfile" \
    --tag "$repository:$tag" --tag "$repository:latest" "$root"
  docker push "$repository:$tag" ||
    fail "could not push to $repository: it exists after terraform apply (is PROJECT the project_name of it?)"
  docker push "$repository:latest"
  echo "pushed $repository:$tag, also as latest"
}

version() {
  local commit
  commit=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null) || { date -u +%Y%m%d%H%M%S; return; }
  # An image with changes that no commit has must not bear the commit's name.
  if [[ -n $(git -C "$root" status --porcelain -- docker splatworks/contract pyproject.toml constraints.txt) ]]; then
    commit+="-changed-$(date -u +%Y%m%d%H%M%S)"
  fi
  echo "$commit"
}

fail() {
  echo "build-and-push.sh: $1" >&2
  exit "${2:-1}"
}

main "$@"
