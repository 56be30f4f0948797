"""The embedded default corpus: documentation that the installation holds."""

import ast
import inspect
import json
from pathlib import Path

import pytest
from corpus_fixtures import counts_of, documents_of

from toedit.config import CorpusConfig
from toedit.corpora import docstrings, plan_corpus
from toedit.corpora.pydocs import read_documentation
from toedit.errors import UnusableInput

SOURCE = (
    '''
"""Module text {long}."""
from torch._C import _add_docstr as add_docstr
def function():
    """Function text {long}."""
    class Inner:
        """Inner text {long}."""
if True:
    class Kind:
        async def method(self):
            r"""Method text {long}.

                Indented.
            """
        def short(self):
            """Short."""
add_docstr(torch.abs, r"""abs(input) -> Tensor {long}
Args:
    {{input}}
    {{{{braces}}}} and {{out}}
""".format(**arguments))
add_newdoc("numpy.multiarray", "ndarray", ("T", """Transposed {long}."""))
add_newdoc("numpy.multiarray", "dtype", [("a", """First {long}."""), ("b", """Second {long}.""")])
BROKEN = """\\ud800 {long}"""
'''.replace("{long}", "x " * 20)
    .replace("{{", "{")
    .replace("}}", "}")
)


def test_docstrings_are_found_by_their_qualified_names(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    found = dict(docstrings.file_documents("package.module", path, 30))
    assert list(found) == [
        "package.module",
        "package.module.function",
        "package.module.function.Inner",
        "package.module.Kind.method",
        "torch.abs",
        "numpy.multiarray.ndarray.T",
        "numpy.multiarray.dtype.a",
        "numpy.multiarray.dtype.b",
    ]
    assert found["package.module.Kind.method"].endswith("\n\nIndented.")
    assert found["torch.abs"].endswith("Args:\n    {braces} and out")


@pytest.mark.parametrize("content", [b"\xff\xfe", b'"""never closed', b'x = """' + b"(" * 5000, b""])
def test_files_that_do_not_parse_are_passed_over(tmp_path, content):
    path = tmp_path / "broken.py"
    path.write_bytes(content)
    assert docstrings.file_documents("broken", path, 1) == []
    assert docstrings.file_documents("gone", tmp_path / "gone.py", 1) == []


@pytest.fixture(scope="module")
def documentation(tmp_path_factory) -> tuple[Path, CorpusConfig]:
    """The standard library and a small package."""
    root = tmp_path_factory.mktemp("pydocs")
    config = CorpusConfig(packages=["python", "packaging", "no-such-package"], shard_bytes=500_000)
    plan_corpus(config, root).ensure()
    return root, config


def test_the_corpus_is_prose_of_the_installed_packages(documentation):
    root, config = documentation
    artifact = plan_corpus(config, root)
    documents = documents_of(artifact.path)
    by_id = {document["id"]: document for document in documents}
    assert {document["source"] for document in documents} == {"python", "packaging"}
    assert artifact.identity["packages"][0][0] == "python" and len(artifact.identity["packages"]) == 2
    assert by_id["json"]["text"] == inspect.cleandoc(json.__doc__).strip()
    assert {"topics/assert", "description/packaging", "ast.NodeVisitor"} <= by_id.keys()
    assert by_id["ast.NodeVisitor"]["text"] == inspect.getdoc(ast.NodeVisitor)
    assert min(len(document["text"]) for document in documents) >= config.min_characters
    assert not any(".test." in document["id"] or "_vendor" in document["id"] for document in documents)
    folded = {" ".join(document["text"].casefold().split()) for document in documents}
    assert len(folded) == len(documents)
    counts = counts_of(artifact.path)
    assert counts["rejected"] == 0 and counts["missing_ids"] == 0
    assert sum(counts["bytes_by_package"].values()) == counts["bytes"] > 1_000_000


def test_the_order_does_not_depend_on_the_number_of_processes():
    packages = ["packaging", "click"]
    assert read_documentation(packages, 200, workers=1) == read_documentation(packages, 200, workers=3)


def test_splits_are_parts_of_the_one_artifact(documentation):
    root, config = documentation
    whole = plan_corpus(config, root)
    parts = []
    for split in ("train", "validation", "test"):
        part = plan_corpus(CorpusConfig(packages=config.packages, shard_bytes=config.shard_bytes, split=split), root)
        assert part.inputs["corpus"].fingerprint == whole.fingerprint
        assert part.path.name.startswith(f"pydocs-{split}--")
        parts.append(documents_of(part.ensure()))
    everything = documents_of(whole.path)
    assert sorted(document["id"] for part in parts for document in part) == sorted(
        document["id"] for document in everything
    )
    assert [round(len(part) / len(everything), 1) for part in parts] in (
        [0.4, 0.1, 0.5],
        [0.5, 0.0, 0.5],
        [0.5, 0.1, 0.5],
    )


def test_without_any_package_there_is_no_corpus(tmp_path):
    with pytest.raises(UnusableInput, match=r"corpus\.packages=no-such-package"):
        plan_corpus(CorpusConfig(packages=["no-such-package"]), tmp_path)
