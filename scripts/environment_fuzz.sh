#!/usr/bin/env bash
# Makes the environment of the coverage-guided fuzzer in .venv-fuzz (or $TOEDIT_FUZZ_VENV) and prints the path of its
# python.
#     bash scripts/environment_fuzz.sh
# Atheris from PyPI (35 MB, Linux on x86-64), on top of the project's own environment, whose packages it sees; that one
# is made first where it is not there. For developers: scripts/fuzz_coverage.py.
# Needs Python 3.11 or 3.12. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=${TOEDIT_FUZZ_VENV:-.venv-fuzz}
base=$(bash scripts/environment.sh)
stamp=$environment/.toedit-$({ cat scripts/constraints_fuzz.txt scripts/environment_fuzz.sh; echo "$base"; } | sha256sum | cut -c1-16)

# Of two at once, the second waits for the first and finds it made.
if command -v flock >/dev/null; then exec 9<scripts/environment_fuzz.sh && flock 9; fi
if [[ ! -e $stamp ]]; then
  echo "environment: installing Atheris into $environment (once, about 35 MB)" >&2
  packages='import sysconfig; print(sysconfig.get_path("purelib"))'
  [[ -x $environment/bin/python ]] || "$base" -m venv "$environment"
  "$environment/bin/python" -m pip -qq --disable-pip-version-check install -c scripts/constraints_fuzz.txt atheris >&2
  own=$("$environment/bin/python" -c "$packages")
  { "$base" -c "$packages"; pwd; } >"$own/toedit_base.pth"
  rm -f "$environment"/.toedit-*
  touch "$stamp"
fi
echo "$environment/bin/python"
