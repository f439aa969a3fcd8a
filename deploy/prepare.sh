#!/usr/bin/env bash
# Makes the secrets of compose.yaml in deploy/secrets, where there are none yet. Nothing is overwritten.
#
# The files are readable for everybody and their folder for its owner only: compose mounts each file as it
# is, and the processes in the containers run as other users.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

command -v openssl >/dev/null || { echo "prepare.sh: needs openssl" >&2; exit 1; }

mkdir -p secrets
chmod 0700 secrets
cd secrets
umask 0022

# make FILE COMMAND…: the file appears whole or not at all.
make() {
  local file=$1
  if [ -e "$file" ]; then return; fi
  "${@:2}" >"$file.new"
  mv "$file.new" "$file"
  echo "made secrets/$file" >&2
}

random() { printf '%s' "$(openssl rand -hex 32)"; }

make postgres-password random
make free-credit.key random

# What signs heads of the log, and the list by which others check them: docs/proofs.md.
make audit-signing.key openssl genpkey -algorithm ed25519
listed() {
  local name=usage-ledger-trial public id
  public=$(openssl pkey -in audit-signing.key -pubout -outform DER | tail -c 32 | base64)
  id=$( { printf '%s\n\001' "$name"; base64 -d <<<"$public"; } | openssl dgst -sha256 -r | cut -c 1-8)
  printf '{"format": "usage-ledger-keys-1", "keys": [{"name": "%s", "id": "%s", "algorithm": "ed25519", ' \
    "$name" "$id"
  printf '"public_key": "%s", "added": "%s", "added_by": "prepare.sh", "retired": null}]}\n' \
    "$public" "$(date -u +%Y-%m-%dT%H:%M:%S.000Z)"
}
make audit-keys.json listed

# Who may call: the ledger's file holds hashes only, the tokens themselves lie beside it for their holders.
token() { printf 'ulg_%s' "$(openssl rand -hex 32)"; }
entry() {
  printf '[[tokens]]\nname = "%s"\nroles = [%s]\nsha256 = "%s"\n\n' \
    "$1" "$2" "$(openssl dgst -sha256 -r <"token-$1" | cut -d' ' -f1)"
}
entries() {
  entry services '"publish"'
  entry operator '"read", "admin", "audit"'
  entry prometheus '"read"'
}
for holder in services operator prometheus; do make "token-$holder" token; done
make tokens.toml entries

# The certificates of a trial: an authority of its own, valid for a year. In earnest take those of yours.
if [ ! -e tls.crt ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
    -subj "/CN=usage-ledger trial authority" -keyout ca.key.new -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=serve" \
    -keyout tls.key -out tls.csr.new 2>/dev/null
  openssl x509 -req -in tls.csr.new -CA ca.crt -CAkey ca.key.new -CAcreateserial -days 365 -out tls.crt.new \
    -extfile <(printf 'subjectAltName=DNS:serve,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n') \
    2>/dev/null
  # The authority signs once; without its key nobody can sign more.
  rm -f ca.key.new tls.csr.new ca.srl
  chmod 0644 tls.key
  mv tls.crt.new tls.crt
  echo "made secrets/ca.crt, secrets/tls.crt, secrets/tls.key" >&2
fi
