#!/usr/bin/env bash
# Makes the Python environment in .venv (or $TOEDIT_VENV) and prints the path of its python.
#     bash scripts/environment.sh [extra]      extra: a group of pyproject.toml, e.g. dev
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches pyproject.toml and constraints.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extra=${1:-}
environment=${TOEDIT_VENV:-.venv}
pins=$(cat pyproject.toml scripts/constraints.txt | sha256sum | cut -c1-16)
stamp=$environment/.toedit-$pins-${extra:-core}

# Of two at once, the second waits for the first and finds it made.
if command -v flock >/dev/null; then exec 9<scripts/environment.sh && flock 9; fi
# Whatever extra it was made with, an environment of these pins serves as the core's.
if [[ ! -e $stamp ]] && ! { [[ -z $extra ]] && compgen -G "$environment/.toedit-$pins-*" >/dev/null; }; then
  python=$(bash scripts/find_python.sh)
  echo "environment: installing into $environment (once)" >&2
  [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"
  pip=("$environment/bin/python" -m pip -qq --disable-pip-version-check)
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  torch=$(sed -n 's/^torch==/torch==/p' scripts/constraints.txt)
  "${pip[@]}" install "$torch" >&2
  "${pip[@]}" install -c scripts/constraints.txt -e ".${extra:+[$extra]}" >&2
  find "$environment" -maxdepth 1 -name '.toedit-*' ! -name ".toedit-$pins-*" -delete
  touch "$stamp"
fi
echo "$environment/bin/python"
