#!/bin/bash
# POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE hold at the first start.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user=${POSTGRES_USER:-postgres}
  password_file=${POSTGRES_PASSWORD_FILE:-}
  if [ -z "$password_file" ]; then
    password_file=$(mktemp)
    printf '%s' "${POSTGRES_PASSWORD:?set it or POSTGRES_PASSWORD_FILE}" >"$password_file"
  fi
  initdb --username="$user" --pwfile="$password_file" --encoding=UTF8 --no-locale \
    --auth-local=trust --auth-host=scram-sha-256 >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  database=${POSTGRES_DB:-$user}
  if [ "$database" != postgres ]; then
    pg_ctl --wait --options="-c listen_addresses=''" start >/dev/null
    createdb --username="$user" "$database"
    pg_ctl --wait --mode=fast stop >/dev/null
  fi
fi
exec "$@" -c listen_addresses='*'
