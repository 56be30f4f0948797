#!/usr/bin/env bash
# From a fresh clone to edited text: makes the environment, builds the embedded corpus and prior, edits, shows.
#     bash scripts/quickstart.sh [overrides of every command, e.g. artifacts=DIR]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(bash scripts/environment.sh)

step() { printf '\n== %s\n' "$1"; }

step "1/4  edit human text with a prior trained here (python run.py stage=edit)"
"$python" run.py stage=edit "$@"
step "2/4  the same scores, other settings: p = 0.9 beside 0.99, the released script's preset beside the paper's"
"$python" run.py -m stage=edit edit=paper,official edit.p=0.99,0.9 "$@"
step "3/4  how the prior sees this text (python run.py stage=analyze)"
"$python" run.py stage=analyze "$@"
step "4/4  what was edited, token by token (python run.py stage=diff)"
"$python" run.py stage=diff diff.documents=3 diff.max_characters=1200 "$@"
