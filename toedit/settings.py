"""Settings of the library and of the `toedit` command: dotted keys with values, checked, as a configuration.

`{"score.window": 512}` and `{"score": {"window": 512}}` say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toedit.command import all_keys, build_config, explain, unknown_key
from toedit.config import Config
from toedit.errors import BadConfiguration, UnusableInput

_OF_RUN = ("stage", "experiment", "scale")
"""What only `run.py` takes."""
_OF_EDITS = ("edit.", "executor.")
"""What can still be said once the scores are there."""


def config_of(settings: Mapping[str, Any]) -> Config:
    """The configuration with these keys; values become their types as in the command (a temperature 3 is 3.0)."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    given, known = flat(settings), all_keys()
    for key in given:
        if key in _OF_RUN:
            raise BadConfiguration(f"{key}: belongs to run.py; here, the function or command says what is done")
        if _is_section(key, known):
            raise BadConfiguration(f"{key}: names a group of keys; write {key}.KEY")
        if not any(key == one or key.startswith(f"{one}.") for one in known):
            raise BadConfiguration(unknown_key(key))
    try:
        typed = OmegaConf.merge(OmegaConf.structured(Config), _nested(given))
    except OmegaConfBaseException as error:
        raise BadConfiguration(explain(error)) from None
    return build_config(OmegaConf.to_container(typed))  # type: ignore[arg-type]


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"edit": {"p": 0.9}}` as `{"edit.p": 0.9}`; of a key that is said twice, the later value."""
    known, found = all_keys(), {}
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and _is_section(key, known):
            found.update(flat(value, f"{key}."))
        else:
            found[key] = value
    return found


def flattened(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings as a caller gives them, checked and flat."""
    if not isinstance(settings, Mapping | None):
        raise BadConfiguration(f"settings: a {type(settings).__name__}; write {{'score.window': 512}}")
    return flat(settings or {})


def of_building(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of something that is built."""
    given = flattened(settings)
    if given.get("dry_run"):
        raise BadConfiguration("dry_run: toedit.plan says what would be done")
    return given


def prior_settings(prior: str | Path) -> dict[str, Any]:
    """A model folder, or else a hub id (owner/name, or a bare name such as gpt2)."""
    name = str(prior)
    if Path(name).expanduser().exists() or name.startswith((".", "/", "~")):
        return {"prior.kind": "local", "prior.path": name}
    return {"prior.kind": "hub", "prior.hub_id": name}


def is_scores(path: Path) -> bool:
    """Whether the folder is an artifact of scores; a folder of texts may hold another program's manifest.json."""
    from toedit.workspace import MANIFEST, read_manifest

    try:
        return (path / MANIFEST).is_file() and read_manifest(path)["kind"] == "scores"
    except UnusableInput:
        return False


def check_generation(keys: Mapping[str, Any], path: str | Path) -> None:
    """The folder of scores says nothing of how to load their prior, which scores each generation anew."""
    if keys.get("edit.generation", 1) != 1:
        raise BadConfiguration(
            f"edit.generation={keys['edit.generation']}: the prior scores each generation, and {path} is scores alone; "
            "name the corpus and the prior"
        )


def check_late(keys: Iterable[str], further: tuple[str, ...] = ()) -> None:
    """Raise BadConfiguration where a key comes too late, as the scores are made already."""
    if late := next((key for key in keys if not key.startswith(_OF_EDITS) and key not in further), None):
        raise BadConfiguration(f"{late}: scores are made already; only edit.* can be set now (and executor.*)")


@contextmanager
def scored_already() -> Iterator[None]:
    """What the scores do not hold cannot be added to them: the advice is to score again."""
    try:
        yield
    except BadConfiguration as error:
        said = str(error)
        if "; add score." not in said:
            raise
        raise BadConfiguration(said.replace("; add score.", "; score again with score.")) from None


def _is_section(key: str, known: list[str]) -> bool:
    return key not in known and any(one.startswith(f"{key}.") for one in known)


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    """`{"edit.p": 0.9}` as `{"edit": {"p": 0.9}}`."""
    nested: dict[str, Any] = {}
    for key, value in given.items():
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return nested
