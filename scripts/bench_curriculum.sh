#!/usr/bin/env bash
# Do samplers that pay only for prompts that teach save rollouts? Half of the prompts are solved, a quarter is hopeless.
#
#   bash scripts/bench_curriculum.sh                            six ways to sample, three seeds: two hours
#   bash scripts/bench_curriculum.sh --steps 20 --seeds 1       a look
#
# The tiny model grades synthetic prompts (`vlmrl data grade`), 4800 of them become the data set, and every sampler
# trains on it. Stop it at any time: the same command goes on. runs/bench_curriculum/ then holds results.json,
# results.md and results.svg.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh train

vlmrl bench curriculum "$@"
