#!/bin/sh
# Makes the database's password for compose.yaml, once; it is in no image and in no environment.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
[ -s secrets/postgres ] || head -c 24 /dev/urandom | base64 | tr -d '\n/+=' > secrets/postgres
# Compose mounts it as it is, and two accounts have to read it; nobody else gets into the folder.
chmod 0444 secrets/postgres
