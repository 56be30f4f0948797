#!/usr/bin/env bash
# Makes the environment of `trainer=olmo` in .venv-olmo (or $TOEDIT_OLMO_VENV) and prints the path of its python.
#     bash scripts/environment_olmo.sh
# olmo-core wants older versions of huggingface_hub, filelock and rich than the core is pinned to, so it lives apart;
# `run.py` finds it there by itself. About 2 GB and a minute and a half.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=${TOEDIT_OLMO_VENV:-.venv-olmo}
files=(pyproject.toml scripts/constraints_olmo.txt scripts/environment_olmo.sh)
stamp=$environment/.toedit-$(cat "${files[@]}" | sha256sum | cut -c1-16)

# Of two at once, the second waits for the first and finds it made.
if command -v flock >/dev/null; then exec 9<scripts/environment_olmo.sh && flock 9; fi
if [[ ! -e $stamp ]]; then
  python=$(bash scripts/find_python.sh)
  echo "environment: installing olmo-core into $environment (once, about 2 GB)" >&2
  [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"
  pip=("$environment/bin/python" -m pip -qq --disable-pip-version-check)
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  "${pip[@]}" install torch==2.13.0 >&2
  "${pip[@]}" install -c scripts/constraints_olmo.txt torch==2.13.0 -e '.[olmo]' >&2
  rm -f "$environment"/.toedit-*
  touch "$stamp"
fi
echo "$environment/bin/python"
