#!/usr/bin/env bash
# From a fresh clone to a learning curve: installs what is needed and trains the built-in tiny model on a laptop.
#
#   bash scripts/quickstart.sh                        about ten minutes on two cores, no GPU needed
#   bash scripts/quickstart.sh --run.steps 20         any setting of `vlmrl train`
#
# A vision-language model of 2.8 M parameters answers questions about synthetic images, in five kinds of task, and is
# rewarded for right answers. The run is written to runs/quickstart, the next ones to runs/quickstart-2, -3, ...
set -euo pipefail
scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

echo "== 1/2 packages: torch and transformers at pinned versions, in .venv (once; about 5 GB)"
. "$scripts/setup.sh" train

name=quickstart
number=2
while [[ -e runs/$name ]]; do
    name=quickstart-$((number++))
done
echo "== 2/2 training: held-out reward before, GRPO, held-out reward after"
vlmrl train quickstart --run.name "$name" "$@"

echo "== what next"
echo "   the page above, in a browser: reward of each source, and answers drawn into their images"
echo "   vlmrl is in $(dirname -- "$(command -v vlmrl)"); try: vlmrl train quickstart --rollout.group 16 --run.name mine"
