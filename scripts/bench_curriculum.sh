#!/usr/bin/env bash
# Do samplers save rollouts by skipping prompts that teach nothing? Half of the prompts are solved, a quarter never.
#
#   bash scripts/bench_curriculum.sh                            six ways to sample, three seeds: two hours
#   bash scripts/bench_curriculum.sh --steps 20 --seeds 1       a quick trial
#
# The tiny model grades synthetic prompts (`vlmrl data grade`), 4800 of them become the data set, and every sampler
# trains on it. It can be stopped at any time; the same command resumes it. The results are results.json, results.md and
# results.svg in runs/bench_curriculum/.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh train

vlmrl bench curriculum "$@"
