#!/usr/bin/env bash
# Makes the environment of `trainer=olmo_legacy` in .venv-olmo-legacy (or $TOEDIT_OLMO_LEGACY_VENV) and prints the path of
# its python.
#     bash scripts/environment_olmo_legacy.sh
# The legacy `olmo` package needs NumPy 1, so it lives apart. About 2 GB and two minutes.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=${TOEDIT_OLMO_LEGACY_VENV:-.venv-olmo-legacy}
stamp=$environment/.toedit-$(cat scripts/constraints_olmo_legacy.txt scripts/environment_olmo_legacy.sh | sha256sum | cut -c1-16)

# Of two at once, the second waits for the first and finds it made.
if command -v flock >/dev/null; then exec 9<scripts/environment_olmo_legacy.sh && flock 9; fi
if [[ ! -e $stamp ]]; then
  python=$(bash scripts/find_python.sh)
  echo "environment: installing ai2-olmo into $environment (once, about 2 GB)" >&2
  [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"
  pip=("$environment/bin/python" -m pip -qq --disable-pip-version-check)
  # torch first and by its exact version: pip then keeps that build when it resolves everything else.
  "${pip[@]}" install torch==2.13.0 >&2
  # Of the package's extra `train` only what its trainer imports.
  "${pip[@]}" install -c scripts/constraints_olmo_legacy.txt \
    torch==2.13.0 ai2-olmo==0.6.0 wandb torchmetrics scikit-learn datasets >&2
  rm -f "$environment"/.toedit-*
  touch "$stamp"
fi
echo "$environment/bin/python"
