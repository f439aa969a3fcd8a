#!/usr/bin/env bash
# Proves a deployment of compose.yaml: brings it up, publishes through Kafka, gRPC and HTTP, kills roles on
# the way, reads everything back and compares it with a computation of its own. Ends with 0 or loudly.
#
#     deploy/smoke.sh            on what runs, or from nothing; leaves it running
#     deploy/smoke.sh --down     the same, and takes everything down afterwards, data included
#
# COMPOSE is the command, `docker compose` by default; docker-compose 1.29 will do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

down=
case ${1:-} in
  '') ;;
  --down) down=1 ;;
  *) echo "smoke.sh: $1 is no option; --down is" >&2; exit 2 ;;
esac

if [ -z "${COMPOSE:-}" ]; then
  if docker compose version >/dev/null 2>&1; then COMPOSE='docker compose'; else COMPOSE=docker-compose; fi
fi
# Word splitting is meant: the command is two words.
# shellcheck disable=SC2086
compose() { $COMPOSE --file compose.yaml "$@"; }
say() { printf 'smoke: %s\n' "$*" >&2; }
smoke() { compose run --rm -T --no-deps smoke "$@"; }

ended() {
  local code=$?
  if [ $code = 0 ]; then return; fi
  say "FAILED. What the roles said last:"
  compose ps --all >&2 || compose ps >&2 || true
  compose logs --tail=30 migrate topics serve intake project relay jobs faust >&2 || true
  exit $code
}
trap ended EXIT

roles='serve intake project relay jobs faust'
ready_seconds_max=240

# ready ROLE…: waits until each says so itself.
ready() {
  local role id state deadline=$((SECONDS + ready_seconds_max))
  for role; do
    while :; do
      id=$(compose ps -q "$role")
      state=$(docker inspect --format '{{.State.Health.Status}}' "$id" 2>/dev/null || echo missing)
      if [ "$state" = healthy ]; then break; fi
      if [ $SECONDS -ge $deadline ]; then
        say "$role is $state after $ready_seconds_max seconds"
        return 1
      fi
      sleep 1
    done
  done
  say "ready: $*"
}

# killed ROLE…: as a crash would, without a word.
killed() {
  compose kill --signal SIGKILL "$@" >/dev/null 2>&1
  say "killed: $*"
}

./prepare.sh
compose up -d
# shellcheck disable=SC2086
ready $roles

run=$(date +%s)-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
say "run $run"
begin=$(smoke begin "$run")

# The first part, with the intake killed in the middle of it.
smoke publish "$run" 0 &
publishing=$!
sleep 3
killed intake
wait "$publishing"
compose up -d intake >/dev/null 2>&1

# The second part comes while nobody takes it in or folds it.
killed intake project
smoke publish "$run" 1 &
publishing=$!
sleep 2
compose up -d intake project >/dev/null 2>&1
killed faust relay
compose up -d relay faust >/dev/null 2>&1
wait "$publishing"
# shellcheck disable=SC2086
ready $roles

smoke check "$run" "$begin"
say "PASSED"
if [ -n "$down" ]; then compose down --volumes >/dev/null 2>&1; fi
