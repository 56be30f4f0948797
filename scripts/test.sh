#!/usr/bin/env bash
# Makes the environment and runs every check: lint, format, types, tests.
#     bash scripts/test.sh [arguments of pytest]
# As many processes as there are cores, at most four, take one file of tests after another: bash scripts/test.sh -n 0 takes
# none.
# Tests on real text look for it in $TOEDIT_TEST_DATA (default ../shared/data) and say so where it is absent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(bash scripts/environment.sh dev)

"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy
cores=$("$python" -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")
"$python" -m pytest -n "$((cores > 4 ? 4 : cores))" --dist loadfile --no-loadscope-reorder "$@"
