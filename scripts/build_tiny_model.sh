#!/usr/bin/env bash
# Builds the embedded tiny model anew and puts it into vlmrl/models/tiny/.
#
# Some 80,000 synthetic samples, one pass, seeded: about a quarter of an hour on two idle cores. The same machine
# and package versions give the same weights; another processor may round differently.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh train

# 1. A supervised cold start from random weights: the answers, and for the vision tower a label for every patch.
vlmrl train tiny_sft

# 2. Ship the result: bfloat16 weights, tokenizer, processor.
cp runs/tiny_sft/model/* vlmrl/models/tiny/
du -ch vlmrl/models/tiny/*.safetensors | tail -1

# 3. Where it stands: sampled reward of each source, which reinforcement learning goes on from.
vlmrl report runs/tiny_sft
