#!/bin/bash
# Watches over one host of AWS Batch. Amazon ECS does not tell Batch's jobs that their spot host is about to go: this does.
#
# - The notice of an interruption and of a recommended rebalance, which EC2 gives in instance metadata alone, become
#   files in HOST_DIR, which is mounted into every container. The runner of each job looks there.
# - When a runner leaves bad-host.json there (the GPU does not work), the host takes no more jobs, lets those that run
#   end, and shuts down.
#
# Jobs can write to HOST_DIR. So nothing there is opened for writing, and nothing is read that could block: a file is
# written in a folder of the host and renamed into place, whatever a job has left under its name.
#
# A launch template installs it as a systemd service. It needs bash, curl 7.75 and shutdown, and the host's own role.
# The names of the files are those of splatworks/contract/host.py.
set -uo pipefail
: "${HOST_DIR:=/run/splatworks}"
: "${AWS_EC2_METADATA_SERVICE_ENDPOINT:=http://169.254.169.254}"
: "${ECS_AGENT_URI:=http://127.0.0.1:51678}"
: "${AWS_ENDPOINT_URL_ECS:=}" # https://ecs.<region>.amazonaws.com
: "${WATCH_SECONDS:=2}"       # EC2's guide: look every five seconds

own=$HOST_DIR.watch # next to it: a rename within one file system

token='' token_until=0 body='' status=''

say() { echo "host-watch: $*"; }

# curl, with the answer in $body and $status; fails if there was no answer.
ask() {
  body=$(curl -sS -m 5 -w '\n%{http_code}' "$@" 2>/dev/null) || { status=''; return 1; }
  status=${body##*$'\n'} body=${body%$'\n'*}
}

renew_token() {
  ask -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 600' "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/api/token" || return 1
  [ "$status" = 200 ] || return 1
  token=$body token_until=$((SECONDS + 300))
}

metadata() {
  if [ -z "$token" ] || [ "$SECONDS" -ge "$token_until" ]; then renew_token || return 1; fi
  ask -H "X-aws-ec2-metadata-token: $token" "$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/meta-data/$1" || return 1
  [ "$status" != 401 ] || token=''
  [ "$status" = 200 ]
}

# $2 becomes the file $1 of HOST_DIR, whole or not at all.
publish() {
  printf '%s' "$2" >"$own/new" || return 1
  if [ -L "$HOST_DIR/$1" ] || { [ -e "$HOST_DIR/$1" ] && [ ! -f "$HOST_DIR/$1" ]; }; then rm -rf "${HOST_DIR:?}/$1"; fi
  mv -f "$own/new" "$HOST_DIR/$1"
}

# The document at the path $1 of instance metadata becomes the file $2. A copy in $own is what was published last.
note() {
  metadata "$1" && [ -n "$body" ] || return 0
  if [ -f "$HOST_DIR/$2" ] && [ ! -L "$HOST_DIR/$2" ] && [ "$body" = "$(cat "$own/$2" 2>/dev/null)" ]; then return; fi
  publish "$2" "$body" && printf '%s' "$body" >"$own/$2" && say "$2: $body"
}

# The text of the field $1 of the JSON object in $body.
field() { sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" <<<"$body" | head -n 1; }

# No new jobs for this host. Its credentials go to curl by a pipe: arguments can be seen by every process.
drain() {
  local region role key secret session cluster arn
  metadata placement/region && region=$body || return 1
  metadata iam/security-credentials/ && role=${body%%$'\n'*} || return 1
  metadata "iam/security-credentials/$role" || return 1
  key=$(field AccessKeyId) secret=$(field SecretAccessKey) session=$(field Token)
  ask "$ECS_AGENT_URI/v1/metadata" && [ "$status" = 200 ] || return 1
  cluster=$(field Cluster) arn=$(field ContainerInstanceArn)
  ask --config - --aws-sigv4 "aws:amz:$region:ecs" -H 'Content-Type: application/x-amz-json-1.1' \
    -H 'X-Amz-Target: AmazonEC2ContainerServiceV20141113.UpdateContainerInstancesState' \
    -d "{\"cluster\": \"$cluster\", \"containerInstances\": [\"$arn\"], \"status\": \"DRAINING\"}" \
    "${AWS_ENDPOINT_URL_ECS:-https://ecs.$region.amazonaws.com}/" <<CONFIG || return 1
user = "$key:$secret"
header = "X-Amz-Security-Token: $session"
CONFIG
  [ "$status" = 200 ] || { say "UpdateContainerInstancesState answered $status: $body"; return 1; }
}

# Fails while the agent cannot be asked: then nobody knows.
has_no_task() {
  ask "$ECS_AGENT_URI/v1/tasks" && [ "$status" = 200 ] || return 1
  ! grep -o '"KnownStatus" *: *"[A-Z_]*"' <<<"$body" | grep -qv '"STOPPED"'
}

drained='' tries=0
retire() {
  if [ -z "$drained" ]; then
    tries=$((tries + 1))
    if drain; then
      drained=yes
      publish drained '' # the runner waits for it: a retry that came sooner could start here again
      say "the host takes no more jobs: $(timeout 2 head -c 500 "$HOST_DIR/bad-host.json" 2>/dev/null | tr -cd '[:print:]')"
    elif [ "$tries" -lt 30 ]; then
      return
    else
      drained=no # better no host than one that takes jobs again and again
      say "the host could not be drained, and shuts down all the same"
    fi
  fi
  if [ "$drained" = no ] || has_no_task; then
    say 'shutting down'
    shutdown -h now
    exit 0
  fi
}

mkdir -p "$HOST_DIR"
(umask 077 && mkdir -p "$own")
say "watching $AWS_EC2_METADATA_SERVICE_ENDPOINT every $WATCH_SECONDS s"
while :; do
  note spot/instance-action interruption.json
  note events/recommendations/rebalance rebalance.json
  if [ -e "$HOST_DIR/bad-host.json" ]; then retire; fi
  sleep "$WATCH_SECONDS"
done
