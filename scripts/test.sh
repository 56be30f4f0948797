#!/usr/bin/env bash
# Makes the environment and runs every check: lint, format, types, tests.
#     bash scripts/test.sh [arguments of pytest]
# Tests on real text look for it in $TOEDIT_TEST_DATA (default ../shared/data) and say so where it is absent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(bash scripts/environment.sh dev)

"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
"$python" -m pytest "$@"
