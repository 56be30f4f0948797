#!/usr/bin/env bash
# Makes the Python environment in .venv (or $TOEDIT_VENV) and prints the path of its python.
#     bash scripts/environment.sh [extra]      extra: a group of pyproject.toml, e.g. dev
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches pyproject.toml and constraints.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extra=${1:-}
environment=${TOEDIT_VENV:-.venv}
stamp=$environment/.toedit-$(cat pyproject.toml scripts/constraints.txt <(echo "$extra") | sha256sum | cut -c1-16)

if [[ ! -e $stamp ]]; then
  python=
  for candidate in python3.11 python3.12 python3 python; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  [[ -n $python ]] || { echo "error: Python 3.11 or 3.12 is needed, none is on the PATH" >&2; exit 2; }
  echo "environment: installing into $environment (once)" >&2
  [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"
  pip=("$environment/bin/python" -m pip -qq --disable-pip-version-check)
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  torch=$(sed -n 's/^torch==/torch==/p' scripts/constraints.txt)
  "${pip[@]}" install "$torch" >&2
  "${pip[@]}" install -c scripts/constraints.txt -e ".${extra:+[$extra]}" >&2
  rm -f "$environment"/.toedit-*
  touch "$stamp"
fi
echo "$environment/bin/python"
