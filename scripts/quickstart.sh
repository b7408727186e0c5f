#!/usr/bin/env bash
# From a fresh clone to a learning curve: installs what is needed and trains the built-in tiny model on a laptop.
#
#   bash scripts/quickstart.sh                        some minutes on one core, no GPU needed
#   bash scripts/quickstart.sh --resume               goes on with the last run, if its time limit cut it short
#   bash scripts/quickstart.sh --run.steps 20         any setting of `vlmrl train`
#
# A vision-language model of 2.8 M parameters answers questions about synthetic images, in five kinds of task, and is
# rewarded for right answers. The run is written to runs/quickstart, the next ones to runs/quickstart-2, -3, ...
set -euo pipefail
scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

echo "== 1/2 packages: torch and transformers at pinned versions, in .venv (once; about 5 GB)"
. "$scripts/setup.sh" train

name=quickstart
last=$name
number=2
while [[ -e runs/$name ]]; do
    last=$name
    name=quickstart-$((number++))
done
if [[ " $* " == *" --resume "* ]]; then name=$last; fi
echo "== 2/2 training: held-out reward before, GRPO, held-out reward after"
echo "   after its first steps it says how long the rest takes on this machine"
vlmrl train quickstart --run.name "$name" "$@"

echo "== what next"
echo "   the page above, in a browser: reward of each source, and answers drawn into their images"
echo "   if time was short: bash scripts/quickstart.sh --resume goes on with $name to its last step"
echo "   vlmrl is in $(dirname -- "$(command -v vlmrl)"); try: vlmrl train quickstart --rollout.group 16 --run.name mine"
