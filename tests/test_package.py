"""The wheel and the sdist: what is in them, and that it works without the repository."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, repetitive_documents

import toedit

BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
USE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import toedit
texts = json.load(open("texts.json"))
print(toedit.__file__)
print(json.dumps(toedit.edit(texts, prior=sys.argv[2], p=0.6, temperature=3, settings={"score.min_p": 0.5})))
"""


def output_of(*command, cwd) -> list[str]:
    run = subprocess.run([sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip().splitlines()


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files of the package, as committed or as they stand."""
    listed = subprocess.run(["git", "ls-files", "toedit"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\n") if name and (REPOSITORY / name).exists()]


@pytest.fixture(scope="module")
def site(tmp_path_factory, tracked) -> Path:
    """A folder with the package alone, from the wheel that is made from the sdist, as an index would."""
    folder = tmp_path_factory.mktemp("package")
    for name in (*tracked, "pyproject.toml", "README.md", "LICENSE"):
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / "copy" / name)
    sdist = output_of("-c", BUILD, "build_sdist", folder, cwd=folder / "copy")[-1]
    with tarfile.open(folder / sdist) as archive:
        archive.extractall(folder, filter="data")
    wheel = output_of("-c", BUILD, "build_wheel", folder, cwd=folder / sdist.removesuffix(".tar.gz"))[-1]
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder / "site")
    output_of(*install, folder / wheel, cwd=folder)
    return folder / "site"


def test_toedit_alone_is_installed_and_all_of_it(site, tracked):
    names = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"toedit", "bin"} and [path.name for path in (site / "bin").iterdir()] == ["toedit"]
    missing = [name for name in tracked if not (site / name).exists()]
    assert not missing


def test_it_edits_without_the_repository(site, small_prior, tmp_path):
    texts = [document["text"] for document in repetitive_documents(12)]
    (tmp_path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    place, edited = output_of("-I", "-c", USE, site, small_prior, cwd=tmp_path)
    assert place.startswith(str(site))
    here = toedit.edit(texts, prior=small_prior, p=0.6, temperature=3, settings={"score.min_p": 0.5})
    assert json.loads(edited) == here != texts
