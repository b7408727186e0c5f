#!/usr/bin/env bash
# A tiny model learns to say when something happens in a video: a supervised cold start, then GRPO. CPU is enough.
#
#   bash scripts/train_moments.sh                      the cold start, and one run of reinforcement learning
#   bash scripts/train_moments.sh --run.seed 1         another seed, --run.name moments-1 beside the first
#
# The embedded tiny model has seen images alone. It first learns clips of eight seconds by demonstrations, and stops
# while there is much left to learn. Then it answers questions about new clips and is rewarded by the temporal IoU of
# the span that it says. The runs are runs/moments_sft and runs/moments.
set -euo pipefail
scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
. "$scripts/setup.sh" train

# 1. The cold start, once.
[[ -d runs/moments_sft/model ]] || vlmrl train moments_sft

# 2. Reinforcement learning from there.
vlmrl train moments "$@"
