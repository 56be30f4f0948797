#!/usr/bin/env bash
# Prints the first command that is Python 3.11 or 3.12.
set -euo pipefail
for candidate in python3.11 python3.12 python3 python; do
  if command -v "$candidate" >/dev/null &&
    "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
    echo "$candidate"
    exit
  fi
done
echo "error: Python 3.11 or 3.12 is needed, none is on the PATH" >&2
exit 2
