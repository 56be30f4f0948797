#!/usr/bin/env bash
# Makes the environment of `trainer=olmo_legacy` in .venv-olmo-legacy (or $TOEDIT_OLMO_LEGACY_VENV) and prints the path of
# its python.
#     bash scripts/environment_olmo_legacy.sh
# The legacy `olmo` package needs NumPy 1, so it lives apart. About 2 GB and two minutes.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment_apart.sh

environment=${TOEDIT_OLMO_LEGACY_VENV:-.venv-olmo-legacy}

install() {
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  "${pip[@]}" install torch==2.13.0
  # Of the package's extra `train` only what its trainer imports.
  "${pip[@]}" install -c scripts/constraints_olmo_legacy.txt \
    torch==2.13.0 ai2-olmo==0.6.0 wandb torchmetrics scikit-learn datasets
}

make_apart "ai2-olmo (2 GB)" scripts/environment_olmo_legacy.sh scripts/constraints_olmo_legacy.txt
echo "$environment/bin/python"
