"""The documentation site builds without a warning, and its tutorial runs as it stands."""

import json
import re
import subprocess
import sys

from conftest import REPOSITORY


def test_the_site_builds_and_the_tutorial_runs(tmp_path):
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-b",
        "html",
        "-d",
        str(tmp_path / "trees"),
        "docs",
        str(tmp_path),
    ]
    run = subprocess.run(build, cwd=REPOSITORY, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    page = (tmp_path / "tutorial.html").read_text(encoding="utf-8")
    assert "the original text, byte for byte" in page
    changed = re.findall(r"p = [\d.]+: eligible +([\d.]+)%, changed +([\d.]+)%", page)
    assert len(changed) == 3 and all(float(eligible) >= float(share) for eligible, share in changed)
    for source in (REPOSITORY / "docs").rglob("*.md"):
        assert (tmp_path / source.relative_to(REPOSITORY / "docs")).with_suffix(".html").exists(), source


def test_the_notebook_is_kept_without_outputs():
    notebook = json.loads((REPOSITORY / "docs" / "tutorial.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)
