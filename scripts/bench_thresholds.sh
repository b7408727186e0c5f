#!/usr/bin/env bash
# Which IoU threshold of a detection reward teaches precise boxes? Fixed, scheduled, or matched to the policy.
#
#   bash scripts/bench_thresholds.sh                            seven thresholds, three seeds: an hour on two cores
#   bash scripts/bench_thresholds.sh --steps 20 --seeds 1       a quick trial
#
# The tiny model locates shapes in pictures that it sees at a third of their size. The script can be stopped at any
# time; the same command resumes it. The results are thresholds.json and thresholds.md in runs/bench_thresholds/.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh train

vlmrl bench thresholds "$@"
