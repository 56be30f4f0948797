#!/usr/bin/env bash
# Makes the environment of `trainer=olmo` in .venv-olmo (or $TOEDIT_OLMO_VENV) and prints the path of its python.
#     bash scripts/environment_olmo.sh
# olmo-core wants older versions of huggingface_hub, filelock and rich than the core is pinned to, so it lives apart;
# `run.py` finds it there by itself. About 2 GB and a minute and a half.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment_apart.sh

environment=${TOEDIT_OLMO_VENV:-.venv-olmo}

install() {
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  "${pip[@]}" install torch==2.13.0
  "${pip[@]}" install -c scripts/constraints_olmo.txt torch==2.13.0 -e '.[olmo]'
}

make_apart "olmo-core (2 GB)" scripts/environment_olmo.sh scripts/constraints_olmo.txt pyproject.toml
echo "$environment/bin/python"
