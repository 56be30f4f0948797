#!/usr/bin/env bash
# Makes the environment of the coverage-guided fuzzer in .venv-fuzz (or $TOEDIT_FUZZ_VENV) and prints the path of its
# python.
#     bash scripts/environment_fuzz.sh
# Atheris from PyPI (35 MB, Linux on x86-64), on top of the project's own environment, whose packages it sees; that one
# is made first where it is not there. For developers: scripts/fuzz_coverage.py.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment_apart.sh

environment=${TOEDIT_FUZZ_VENV:-.venv-fuzz}
python=$(bash scripts/environment.sh)

install() {
  local packages='import sysconfig; print(sysconfig.get_path("purelib"))' own
  "${pip[@]}" install -c scripts/constraints_fuzz.txt atheris
  own=$("$environment/bin/python" -c "$packages")
  { "$python" -c "$packages"; pwd; } >"$own/toedit_base.pth"
}

make_apart "Atheris on top of $python (35 MB)" scripts/environment_fuzz.sh scripts/constraints_fuzz.txt
echo "$environment/bin/python"
