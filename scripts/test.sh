#!/usr/bin/env bash
# All checks: lint, format, types, tests. Installs what they need on first use.
#
#   bash scripts/test.sh                        everything
#   bash scripts/test.sh -m "not slow" -x       arguments go to pytest
#   bash scripts/test.sh tests/test_sample.py
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh test

summary=()
failed=0
check() { # NAME COMMAND...: runs it, goes on if it fails
    local name=$1 began=$SECONDS verdict=ok
    shift
    echo "== $name"
    "$@" || { verdict=FAILED && failed=1; }
    summary+=("$(printf '%-8s %-6s %4d s' "$name" "$verdict" $((SECONDS - began)))")
}

check lint ruff check
check format ruff format --check
check types pyright
check tests pytest -n 2 --dist loadfile "$@"

echo "== summary"
printf '%s\n' "${summary[@]}"
exit "$failed"
