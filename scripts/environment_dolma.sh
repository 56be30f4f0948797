#!/usr/bin/env bash
# Makes an environment with the Dolma toolkit, whose mixer applies what `toedit export-dolma` writes, in .venv-dolma (or
# $TOEDIT_DOLMA_VENV) and prints the path of its command `dolma`.
#     bash scripts/environment_dolma.sh
# The toolkit needs NumPy 1 and old versions of boto3 and tokenizers, so it lives apart. About 500 MB and a minute:
# with every version given, pip has nothing to search.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=${TOEDIT_DOLMA_VENV:-.venv-dolma}
stamp=$environment/.toedit-$(cat scripts/constraints_dolma.txt scripts/environment_dolma.sh | sha256sum | cut -c1-16)

# Of two at once, the second waits for the first and finds it made.
if command -v flock >/dev/null; then exec 9<scripts/environment_dolma.sh && flock 9; fi
if [[ ! -e $stamp ]]; then
  python=$(bash scripts/find_python.sh)
  echo "environment: installing the Dolma toolkit into $environment (once, about 500 MB)" >&2
  [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"
  "$environment/bin/python" -m pip -qq --disable-pip-version-check install \
    -c scripts/constraints_dolma.txt dolma==1.2.1 >&2
  rm -f "$environment"/.toedit-*
  touch "$stamp"
fi
echo "$environment/bin/dolma"
