"""Docstrings of Python files, read without importing them. Runs as a process of its own and needs nothing but Python.

    echo '[200, [[0, "json.decoder", "/usr/lib/python3.11/json/decoder.py"]]]' | python toedit/corpora/docstrings.py

Reads one JSON value from stdin: the least number of characters and a list of [number, module, path]. Writes one JSON
line a file to stdout: [number, [[id, text], ...]]. (A process, not a fork: a fork would inherit the artifact's lock
and keep it if the parent were killed.)
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

_Definition = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_MARKS = (b'"""', b"'''")
_ADD_DOC = re.compile(r"_?add_(docstr|newdoc)")  # torch and numpy document their C functions with calls
_PLACEHOLDER_LINE = re.compile(r"^[ \t]*\{\w+\}[ \t]*\n", re.MULTILINE)
_PLACEHOLDER = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")
_UNDERLINE = re.compile(r"^(?P<title>[^\n]+)\n(?P<line>([*=\-~^\"])\3{2,})$", re.MULTILINE)


def main() -> None:
    minimum, files = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(5000)
    for number, module, path in files:
        print(json.dumps([number, file_documents(module, Path(path), minimum)]), flush=True)


def file_documents(module: str, path: Path, minimum: int) -> list[tuple[str, str]]:
    """(id, text) of every docstring in the file with at least `minimum` characters, in the order of the source."""
    try:
        source = path.read_bytes()
        if not any(mark in source for mark in _MARKS) and not module.startswith("pydoc_data"):
            return []  # next to no docstring this long does without; parsing is what takes the time
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = _topics(tree) if module == "pydoc_data.topics" else _docstrings(tree, module)
    documents = ((name, inspect.cleandoc(text).strip()) for name, text in found)
    return [(name, text) for name, text in documents if len(text) >= minimum and _is_text(text)]


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, _Definition):
        text = ast.get_docstring(node, clean=False)
        if text:
            yield name, text
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Definition) and not isinstance(child, ast.Module):
            yield from _docstrings(child, f"{name}.{child.name}")
        elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Call):
            yield from _added_docstrings(child.value, name)
        elif isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield from _docstrings(child, name)


def _added_docstrings(call: ast.Call, module: str) -> Iterator[tuple[str, str]]:
    """The documents of `add_docstr(torch.abs, "...")` and `add_newdoc("numpy", "ndarray", ("T", "..."))`."""
    function = call.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if not _ADD_DOC.match(called):
        return
    names: list[str] = []
    for argument in call.args:
        if isinstance(argument, (ast.Name, ast.Attribute)):
            names.append(ast.unparse(argument))
            continue
        pairs = argument.elts if isinstance(argument, ast.List) else [argument]
        for pair in pairs:
            parts = [_string(part) for part in (pair.elts if isinstance(pair, ast.Tuple) else [pair])]
            if any(part is None for part in parts) or not parts:
                continue
            *member, text = [part for part in parts if part is not None]
            if " " in text:
                yield ".".join([*names, *member]) if names else module, text
            elif not member:
                names.append(text)


def _string(node: ast.expr) -> str | None:
    """A string literal, or `"...".format(...)` with its placeholders, which name whole arguments, taken out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        template = _string(node.func.value)
        if template is not None:
            template = _PLACEHOLDER.sub(r"\1", _PLACEHOLDER_LINE.sub("", template))
            return template.replace("{{", "{").replace("}}", "}")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _string(node.left), _string(node.right)
        return (left or "") + (right or "") or None
    return None


def _topics(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The sections of the language reference; the larger topics repeat the smaller, so a section is a document."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            for name, text in sorted(ast.literal_eval(statement.value).items()):
                starts = [match.start() for match in _UNDERLINE.finditer(text)]
                cuts = [0, *starts, len(text)]
                sections = [text[begin:end] for begin, end in itertools.pairwise(cuts) if text[begin:end].strip()]
                for number, section in enumerate(sections, start=1):
                    yield f"topics/{name}" if number == 1 else f"topics/{name}/{number}", section


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    main()
