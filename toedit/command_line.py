"""`toedit`: the library as a command, for one's own files, without a checkout of the repository.

    toedit score my-corpus --prior my-model --out scores
    toedit edit my-corpus --prior my-model -p 0.99 -k 8 --out edited
    toedit edit scores -p 0.999 --out edited-less
    toedit revert edited --out original
    toedit diff edited
    toedit export-dolma edited --out for-dolma
    toedit plan my-corpus --prior owner/name
    toedit why edited
    toedit verify edited
    toedit clean artifacts --keep edited
    toedit card edited
    toedit push edited owner/name

Further settings are `key=value`, as of `run.py` (`score.window=512 edit.sampler=top_p`). Exit codes: 0 done, 2 bad
configuration or unusable input, 3 missing input, 75 interrupted and resumable.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import toedit
from toedit.console import human, say
from toedit.errors import BadConfiguration, UnusableInput

_HELP = {
    "score": "run a prior over a corpus",
    "edit": "edit a corpus, or scores of it",
    "revert": "take an edit back, byte for byte",
    "diff": "show edited documents beside their originals",
    "export-dolma": "the ledger as attributes that the Dolma toolkit's mixer applies to the original documents",
    "plan": "what an edit would do and cost; builds nothing",
    "why": "where an artifact comes from: everything it was made from, with the commands",
    "verify": "whether an artifact still holds what its manifest says: sizes, checksums, counts",
    "clean": "remove artifacts that none of the kept ones needs; shows them first",
    "card": "the data-set card of an edited corpus",
    "push": "upload an edited corpus or a checkpoint to the hub, privately unless --public",
}
_STAGES = {
    "score": "score",
    "edit": "edit",
    "revert": "revert",
    "diff": "diff",
    "export-dolma": "export_dolma",
    "plan": "edit",
}
"""The stage behind a command that has one."""
_OF_EDITED = ("revert", "diff", "export-dolma")
"""Commands that take an edited corpus."""
_EXAMPLES = {
    "score": "toedit score my-corpus --prior my-model --out scores",
    "edit": "toedit edit my-corpus --prior my-model -p 0.99 -k 8 --out edited",
    "revert": "toedit revert edited --out original",
    "diff": "toedit diff edited",
    "export-dolma": "toedit export-dolma edited --out for-dolma",
    "plan": "toedit plan my-corpus --prior owner/name",
    "why": "toedit why edited",
    "verify": "toedit verify edited",
    "clean": "toedit clean artifacts --keep edited --yes",
    "card": "toedit card edited --license odc-by",
    "push": "toedit push edited owner/name",
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="toedit", description="Edit text with a prior language model.")
    made.add_argument("--version", action="version", version=toedit.__version__)
    commands = made.add_subparsers(dest="command", metavar="command", required=True)
    for name, summary in _HELP.items():
        further = "Further settings: key=value, as of run.py. " if name in _STAGES else ""
        one = commands.add_parser(name, help=summary, description=summary, epilog=f"{further}E.g. {_EXAMPLES[name]}")
        if name not in _STAGES:
            _add_upkeep(name, one)
            continue
        if name in _OF_EDITED:
            one.add_argument("path", help="an edited corpus")
        else:
            one.add_argument("path", help="a file, a folder, a glob, a corpus" + " or scores" * (name == "edit"))
            one.add_argument("--prior", help="a model folder or a hub id")
            one.add_argument("--text", metavar="FIELD", help="the field that holds the text (text)")
        if name in ("edit", "plan"):
            one.add_argument("-p", type=float, help="tokens with P >= p are eligible (0.99)")
            one.add_argument("-k", type=int, help="draw from the k most probable (8)")
            one.add_argument("--temperature", type=float, help="of the draw (1)")
            one.add_argument("--seed", type=int, help="of the draw (0)")
        if name == "diff":
            one.add_argument("--documents", type=int, help="how many to show (3)")
        if name != "plan":
            one.add_argument(
                "--out", metavar="FOLDER", required=name in ("revert", "export-dolma"), help="put the result here"
            )
            one.add_argument("--artifacts", metavar="FOLDER", help="where everything else goes (artifacts)")
    return made


def _add_upkeep(name: str, one: argparse.ArgumentParser) -> None:
    what = {"clean": "a folder of artifacts", "verify": "an artifact, or a folder of artifacts"}
    one.add_argument("path", type=Path, help=what.get(name, "an artifact"))
    if name == "push":
        one.add_argument("name", help="owner/name")
        one.add_argument("--public", action="store_true", help="for everybody to see")
    if name in ("card", "push"):
        one.add_argument("--license", metavar="ID", help="the hub's identifier of a licence; the source's by default")
    if name == "clean":
        one.add_argument("--keep", type=Path, action="append", default=[], help="an artifact, or a folder of them")
        one.add_argument("--yes", action="store_true", help="remove what is shown")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    from toedit.command import as_user_error, end_with, signals_interrupt

    commands = parser()
    asked, further = commands.parse_known_args(arguments)  # key=value may stand anywhere
    if unknown := [part for part in further if part.startswith("-")]:
        commands.error(f"no such option: {' '.join(unknown)}")
    try:
        with signals_interrupt():
            _run(asked, further)
    except BaseException as error:
        known = as_user_error(error)
        if known is None:
            raise
        return end_with(known)
    return 0


def _run(asked: argparse.Namespace, further: Sequence[str]) -> None:
    from toedit.command import run_stage
    from toedit.settings import config_of, scored_already

    if asked.command not in _STAGES and further:
        raise BadConfiguration(f"{further[0]}: toedit {asked.command} takes no settings")
    if asked.command == "why":
        _why(asked.path)
    elif asked.command == "verify":
        _verify(asked.path)
    elif asked.command == "clean":
        _clean(asked.path, asked.keep, asked.yes)
    elif asked.command == "card":
        from toedit.data_card import data_card

        say(data_card(asked.path, asked.path.resolve().name, asked.license))
    elif asked.command == "push":
        from toedit.sharing import push

        say(f"pushed: {push(asked.path, asked.name, asked.public, asked.license)}")
    else:
        given, added = _settings(asked), _further(further)
        if "scores.path" in given:
            _check_late(asked, added)
        stage = importlib.import_module(f"toedit.stages.{_STAGES[asked.command]}")
        with scored_already() if "scores.path" in given else nullcontext():
            run_stage(stage, config_of(given | added))


def _why(path: Path) -> None:
    from toedit.ancestry import ancestry

    for one in ancestry(path):
        role = f"{one.role}: " if one.role else ""
        state = "" if one.state == "there" else f" ({one.state})"
        say(f"{'    ' * one.depth}{role}{one.kind} {one.name}{state}")
        say(f"{'    ' * one.depth}  in    {one.path}")
        counts = {key: value for key, value in one.counts.items() if isinstance(value, int | float)}
        if counts:
            say(f"{'    ' * one.depth}  holds {', '.join(f'{key} {value:,}' for key, value in counts.items())}")
        if one.command:
            say(f"{'    ' * one.depth}  by    {one.command}")


def _verify(path: Path) -> None:
    from toedit.verifying import artifacts_in, faults_of, verify

    damaged = 0
    for artifact in (found := artifacts_in(path)):
        faults = verify(artifact) if artifact == path else faults_of(artifact)
        damaged += bool(faults)
        for fault in faults:
            say(fault)
    if damaged:
        raise UnusableInput(
            f"{path}: {damaged} of {len(found)} artifacts damaged; remove them, and the commands that built them "
            "(toedit why) build them again"
        )
    say(f"{path}: {len(found)} artifact{'s' * (len(found) > 1)} as written")


def _clean(root: Path, keep: list[Path], is_meant: bool) -> None:
    from toedit.ancestry import removable, remove

    found = removable(root, keep)
    for one in found:
        say(f"{human(one.bytes, 'B'):>10}  {one.path}{'' if one.is_finished else ' (unfinished)'}")
    total = f"{len(found)} artifacts, {human(sum(one.bytes for one in found), 'B')}"
    if is_meant:
        remove(found)
        say(f"removed: {total}")
    else:
        say(f"{total} that nothing kept needs; --yes removes them" if found else "nothing to remove")


def _settings(asked: argparse.Namespace) -> dict[str, Any]:
    """The options as keys of the configuration."""
    from toedit.settings import is_scores, prior_settings

    keys = {"p": "edit.p", "k": "edit.k", "temperature": "edit.temperature", "seed": "edit.seed", "out": "out",
            "artifacts": "artifacts", "documents": "diff.documents"}  # fmt: skip
    given = {key: getattr(asked, name) for name, key in keys.items() if getattr(asked, name, None) is not None}
    if asked.command == "plan":
        given["dry_run"] = True
    if asked.command in _OF_EDITED:
        return given | {"edited.path": asked.path}
    if asked.command == "edit" and is_scores(Path(asked.path)):
        if asked.prior:
            raise BadConfiguration(f"--prior={asked.prior}: the scores at {asked.path} name theirs already")
        if asked.text:
            raise BadConfiguration(f"--text={asked.text}: the scores at {asked.path} are of a text already")
        return given | {"scores.path": asked.path}
    if not asked.prior:
        raise BadConfiguration("--prior: name a model folder or a hub id")
    text = {"corpus.text_fields": [asked.text]} if asked.text else {}
    return given | text | {"corpus.kind": "local", "corpus.path": asked.path, **prior_settings(asked.prior)}


def _check_late(asked: argparse.Namespace, added: dict[str, Any]) -> None:
    """Settings that come too late for scores are refused, as by the library."""
    from toedit.settings import check_generation, check_late

    check_late(added, further=("out", "artifacts", "dry_run"))
    check_generation(added, asked.path)


def _further(settings: Sequence[str]) -> dict[str, Any]:
    import yaml

    from toedit.settings import flat

    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise BadConfiguration(f"{setting}: write key=value")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise BadConfiguration(f"{setting}: {value} is not a value") from None
    return flat(found)
