#!/usr/bin/env bash
# Edits a whole corpus with two tiny priors, each trained on the half that it does not edit.
#     bash scripts/two_fold.sh CORPUS KEY [overrides of every command]
# KEY says what is kept on one side, so that no document is scored by a prior that saw another part of the same work:
#     bash scripts/two_fold.sh my-corpus/ metadata.origin_path corpus.split_seed=2 prior.training.steps=1500
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$(bash "$root/scripts/environment.sh")
[[ $python = /* ]] || python=$root/$python
[[ $# -ge 2 ]] || { echo "usage: bash scripts/two_fold.sh CORPUS KEY [overrides]" >&2; exit 2; }
corpus=$1 key=$2
shift 2

# The split of the corpus and that of the prior's corpus must be the same one.
seed=0
for override in "$@"; do
  case $override in corpus.split_seed=*) seed=${override#*=} ;; esac
done
halves=(train test)
for half in 0 1; do
  "$python" "$root/run.py" stage=edit \
    corpus=local "corpus.path='$corpus'" "corpus.split_key=$key" 'corpus.split_shares=[50,0,50]' \
    "corpus.split=${halves[half]}" \
    corpus@prior.corpus=local "prior.corpus.path='$corpus'" "prior.corpus.split_key=$key" \
    'prior.corpus.split_shares=[50,0,50]' "prior.corpus.split=${halves[1 - half]}" "prior.corpus.split_seed=$seed" "$@"
done
