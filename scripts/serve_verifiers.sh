#!/usr/bin/env bash
# Judges answers over HTTP, for trainers on other machines or in other languages. docs/service.md describes requests.
#
#   bash scripts/serve_verifiers.sh                               http://127.0.0.1:8765, only for this machine
#   bash scripts/serve_verifiers.sh --workers 16 --deadline 2     any option of `vlmrl serve`
#   bash scripts/serve_verifiers.sh --verifiers-path mine.py      with verifiers of your own
#   VLMRL_SERVICE_TOKEN=$(openssl rand -hex 32) bash scripts/serve_verifiers.sh --host 0.0.0.0
#
# The last one accepts requests from other machines, with the token. Several services share the work:
#   vlmrl train RUN.toml --reward.servers '["http://10.0.0.5:8765", "http://10.0.0.6:8765"]'
# SIGTERM or Ctrl-C stops it after the verdicts in progress. It needs no GPU.
set -euo pipefail
scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

echo "== 1/2 packages: the verifiers' and FastAPI at pinned versions, in .venv"
. "$scripts/setup.sh" train

echo "== 2/2 service: judges until it is stopped"
exec vlmrl serve "$@"
