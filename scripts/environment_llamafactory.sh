#!/usr/bin/env bash
# Makes the environment of `trainer=llamafactory` in .venv-llamafactory (or $TOEDIT_LLAMAFACTORY_VENV) and prints the path
# of its python.
#     bash scripts/environment_llamafactory.sh
# LLaMA-Factory wants an older Transformers than the core is pinned to, so it lives apart; `run.py` finds it there by
# itself. About 2.2 GB and two minutes.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=${TOEDIT_LLAMAFACTORY_VENV:-.venv-llamafactory}
files=(scripts/constraints_llamafactory.txt scripts/environment_llamafactory.sh)
stamp=$environment/.toedit-$(cat "${files[@]}" | sha256sum | cut -c1-16)

# Of two at once, the second waits for the first and finds it made.
if command -v flock >/dev/null; then exec 9<scripts/environment_llamafactory.sh && flock 9; fi
if [[ ! -e $stamp ]]; then
  python=$(bash scripts/find_python.sh)
  echo "environment: installing LLaMA-Factory into $environment (once, about 2.2 GB)" >&2
  [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"
  pip=("$environment/bin/python" -m pip -qq --disable-pip-version-check)
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  "${pip[@]}" install torch==2.13.0 >&2
  "${pip[@]}" install -c scripts/constraints_llamafactory.txt torch==2.13.0 llamafactory==0.9.5 >&2
  # LLaMA-Factory names both for pictures and sound. torchvision's build does not fit a CPU build of torch and fails on
  # import; torchaudio must be importable, without its native library. Text needs neither.
  "${pip[@]}" uninstall --yes torchvision >&2
  rm -rf "$environment"/lib/python3*/site-packages/torchaudio/lib
  rm -f "$environment"/.toedit-*
  touch "$stamp"
fi
echo "$environment/bin/python"
