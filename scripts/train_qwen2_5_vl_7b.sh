#!/usr/bin/env bash
# Qwen2.5-VL-7B learns from images and verifiable answers by GRPO: LoRA, vLLM in the same process, one 80 GB GPU.
# All settings, and where the memory goes: scripts/configs/train_qwen2_5_vl_7b.toml
#
#   DATA=train.parquet HELDOUT=test.parquet bash scripts/train_qwen2_5_vl_7b.sh --dry-run    check only
#   DATA=train.parquet HELDOUT=test.parquet bash scripts/train_qwen2_5_vl_7b.sh
#   ... --resume                                          continue after a stop
#   ... --run.name second --learner.learning_rate 2e-5    any setting of `vlmrl train`
#
# DATA and HELDOUT are parquet or JSONL files with rows of EasyR1: `problem` (text with <image> at the place of each
# image), `answer`, `images`. hiyouga/geometry3k is such a data set:
#   hf download hiyouga/geometry3k --repo-type dataset --local-dir geometry3k
# Without HELDOUT there is no evaluation before and after, only the reward on the training prompts.
# Paths, also of the output, are relative to the current folder.
set -euo pipefail

if [[ -z ${DATA:-} ]]; then
    echo "$0: set DATA to a file of training rows; the head of this script says what they look like" >&2
    exit 2
fi
scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

echo "== 1/3 packages: torch, transformers and vLLM at pinned versions, in .venv"
. "$scripts/setup.sh" gpu

echo "== 2/3 data: rows become samples, judged by the math verifier"
folder=data/qwen2_5_vl_7b
samples=("$folder/train.parquet")
vlmrl data convert "$DATA" --from easyr1 --verifier math --out "$folder/train.parquet"
if [[ -n ${HELDOUT:-} ]]; then
    vlmrl data convert "$HELDOUT" --from easyr1 --verifier math --out "$folder/heldout.parquet"
    samples+=("$folder/heldout.parquet")
else
    set -- --data.heldout "[]" "$@"
fi
if [[ " $* " == *" --dry-run "* ]]; then
    for file in "${samples[@]}"; do
        vlmrl data check "$file" # every image decodes, and the true answer of every row earns 1
    done
fi

echo "== 3/3 training: 32 prompts a step, 8 answers each, into runs/ (curves: tensorboard --logdir runs)"
vlmrl train "$scripts/configs/train_qwen2_5_vl_7b.toml" "$@"
