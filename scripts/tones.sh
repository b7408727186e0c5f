#!/usr/bin/env bash
# A model that hears, from random weights to a learning curve: some minutes on a CPU.
#
#   bash scripts/tones.sh                       a cold start, then GRPO with seeds 0, 1 and 2
#   bash scripts/tones.sh --run.steps 20        any setting of the GRPO runs
#
# A Qwen2-Audio of 0.3 M parameters hears two tones in a second of sound. It is asked which of them is first or second,
# and when a tone sounds. The runs are in runs/tones-0, -1 and -2.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh train

# 1. A supervised cold start from random weights, stopped mid-range.
vlmrl train tones_sft

# 2. Reinforcement learning from it, three times.
for seed in 0 1 2; do
    vlmrl train tones --run.name "tones-$seed" --run.seed "$seed" "$@"
done
