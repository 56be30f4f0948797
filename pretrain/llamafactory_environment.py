"""The environment of `trainer=llamafactory`: which Python has it, which version, which templates it knows.

LLaMA-Factory wants older versions of some packages than the core, so it lives in an environment of its own. Nothing of
it is imported here: its version is metadata, and its templates are read from its source.

    bash scripts/environment_llamafactory.sh
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from toedit.config import TrainerConfig
from toedit.errors import BadConfiguration

TESTED = ("0.9.5",)
"""The versions of LLaMA-Factory that ran here: YAML keys and log files change between releases."""
MAKE_IT = "make the environment with: bash scripts/environment_llamafactory.sh"
_PACKAGES = ("llamafactory", "torch", "transformers", "peft", "accelerate", "datasets", "deepspeed")
_PROBE = """
import importlib.util, json, sys
from importlib import metadata
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
spec = importlib.util.find_spec("llamafactory")
print(json.dumps({"versions": versions, "folder": list(spec.submodule_search_locations)[0] if spec else None}))
"""


@dataclass(frozen=True)
class Template:
    """What a template asks of a tokenizer."""

    name: str
    tokens: tuple[str, ...]
    """Tokens that it writes and that must each be one entry: words that end a turn, and those named as tokens."""
    end: str | None
    """The token that becomes the end of a text; None keeps the tokenizer's own."""


@dataclass(frozen=True)
class Environment:
    """A Python with a LLaMA-Factory that serves."""

    python: Path
    versions: dict[str, str]
    folder: Path
    """Of the package llamafactory."""

    @property
    def command(self) -> str:
        return str(self.python.parent / "llamafactory-cli")

    def template(self, name: str) -> Template:
        """The template `name`. Raises BadConfiguration with the nearest name."""
        known = read_templates(self.folder / "data" / "template.py")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "docs/llamafactory.md says where they are listed"
            raise BadConfiguration(
                f"sft.template={name}: LLaMA-Factory {self.versions['llamafactory']} has no such template; {hint}"
            )
        return known[name]


def interpreter(trainer: TrainerConfig) -> Path:
    """The Python that has LLaMA-Factory. Raises BadConfiguration with the command that makes one."""
    if trainer.python is None and _installed_here() in TESTED:
        return Path(sys.executable)
    checkout = Path(__file__).resolve().parents[1]
    named = os.environ.get("TOEDIT_LLAMAFACTORY_VENV", ".venv-llamafactory")
    python = Path(trainer.python).absolute() if trainer.python else checkout / named / "bin" / "python"
    if not python.is_file():
        raise BadConfiguration(
            f"trainer=llamafactory: there is no {python}; {MAKE_IT}, or name a Python with trainer.python"
        )
    return python


def find(trainer: TrainerConfig) -> Environment:
    """The environment, its version checked. Raises BadConfiguration."""
    python = interpreter(trainer)
    run = subprocess.run(
        [str(python), "-I", "-c", _PROBE, *_PACKAGES], capture_output=True, text=True, timeout=120, check=False
    )
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no output"])[-1]
        raise BadConfiguration(f"trainer=llamafactory: {python} does not run ({last}); {MAKE_IT}")
    found = json.loads(run.stdout)
    version = found["versions"].get("llamafactory")
    if version not in TESTED or found["folder"] is None:
        has = f"LLaMA-Factory {version}" if version else "no LLaMA-Factory"
        raise BadConfiguration(f"trainer=llamafactory: {python} has {has}; tested is {' or '.join(TESTED)}; {MAKE_IT}")
    return Environment(python, found["versions"], Path(found["folder"]))


def read_templates(source: Path) -> dict[str, Template]:
    """The templates that the framework's own source registers, by name; importing it would take seconds."""
    templates = {}
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", None) == "register_template"):
            continue
        settings = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        name = _literal(settings.get("name"))
        if not isinstance(name, str):
            continue
        stops = [word for word in _literal(settings.get("stop_words")) or [] if isinstance(word, str)]
        replaces = bool(_literal(settings.get("replace_eos"))) and bool(stops)
        inside = [item for key, value in settings.items() if key != "stop_words" for item in ast.walk(value)]
        texts = [item.value for item in inside if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        named = [_token(item) for item in inside if isinstance(item, ast.Dict)]
        written = [word for word in stops if any(word in text for text in texts)]
        tokens = dict.fromkeys([*(stops[:1] if replaces else []), *written, *(token for token in named if token)])
        templates[name] = Template(name, tuple(tokens), stops[0] if replaces else None)
    return templates


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def _token(node: ast.Dict) -> str | None:
    """`<|user|>` of `{"token": "<|user|>"}`."""
    value = _literal(node)
    token = value.get("token") if isinstance(value, dict) else None
    return token if isinstance(token, str) else None


def _installed_here() -> str | None:
    try:
        return metadata.version("llamafactory")
    except metadata.PackageNotFoundError:
        return None
