#!/usr/bin/env bash
# Which IoU threshold of a detection reward teaches precise boxes? Fixed, scheduled, or matched to the policy.
#
#   bash scripts/bench_thresholds.sh                            seven thresholds, three seeds: an hour on two cores
#   bash scripts/bench_thresholds.sh --steps 20 --seeds 1       a look
#
# The tiny model locates shapes in pictures three times as large as what it sees. Stop it at any time: the same command
# goes on. runs/bench_thresholds/ then holds thresholds.json and thresholds.md.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh train

vlmrl bench thresholds "$@"
