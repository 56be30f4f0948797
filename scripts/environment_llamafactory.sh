#!/usr/bin/env bash
# Makes the environment of `trainer=llamafactory` in .venv-llamafactory (or $TOEDIT_LLAMAFACTORY_VENV) and prints the path
# of its python.
#     bash scripts/environment_llamafactory.sh
# LLaMA-Factory wants an older Transformers than the core is pinned to, so it lives apart; `run.py` finds it there by
# itself. About 2.2 GB and two minutes.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment_apart.sh

environment=${TOEDIT_LLAMAFACTORY_VENV:-.venv-llamafactory}

install() {
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  "${pip[@]}" install torch==2.13.0
  "${pip[@]}" install -c scripts/constraints_llamafactory.txt torch==2.13.0 llamafactory==0.9.5
  # LLaMA-Factory names both for pictures and sound. torchvision's build does not fit a CPU build of torch and fails on
  # import; torchaudio must be importable, without its native library. Text needs neither.
  "${pip[@]}" uninstall --yes torchvision
  rm -rf "$environment"/lib/python3*/site-packages/torchaudio/lib
}

make_apart "LLaMA-Factory (2.2 GB)" scripts/environment_llamafactory.sh scripts/constraints_llamafactory.txt
echo "$environment/bin/python"
