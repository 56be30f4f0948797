#!/usr/bin/env bash
# Makes an environment with the Dolma toolkit, whose mixer applies what `toedit export-dolma` writes, in .venv-dolma (or
# $TOEDIT_DOLMA_VENV) and prints the path of its command `dolma`.
#     bash scripts/environment_dolma.sh
# The toolkit needs NumPy 1 and old versions of boto3 and tokenizers, so it lives apart. About 500 MB and a minute:
# with every version given, pip has nothing to search.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment_apart.sh

environment=${TOEDIT_DOLMA_VENV:-.venv-dolma}

install() {
  "${pip[@]}" install -c scripts/constraints_dolma.txt dolma==1.2.1
}

make_apart "the Dolma toolkit (500 MB)" scripts/environment_dolma.sh scripts/constraints_dolma.txt
echo "$environment/bin/dolma"
