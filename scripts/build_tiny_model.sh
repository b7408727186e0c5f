#!/usr/bin/env bash
# Rebuilds the embedded tiny model and copies it to vlmrl/models/tiny/.
#
# It trains one seeded pass over some 80,000 synthetic samples, in about 15 minutes on two idle cores. The same machine
# and package versions give the same weights; another processor may round differently.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh train

# 1. A supervised cold start from random weights, on the answers and, for the vision tower, on a label of every patch.
vlmrl train tiny_sft

# 2. Copy the result: bfloat16 weights, tokenizer, processor.
cp runs/tiny_sft/model/* vlmrl/models/tiny/
du -ch vlmrl/models/tiny/*.safetensors | tail -1

# 3. Report the sampled reward of each source, from which reinforcement learning starts.
vlmrl report runs/tiny_sft
