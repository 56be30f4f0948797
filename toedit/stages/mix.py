"""`python run.py stage=mix`: a human and a synthetic corpus mixed (see `toedit/mixing.py`, `toedit/mixing_files.py`).

python run.py stage=mix mix.human.path=H mix.synthetic.path=S mix.synthetic_ratio=0.25 mix.tokens=1000000
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from toedit import command
from toedit.artifacts import Artifact
from toedit.config import Config
from toedit.config.corpus import SYNTHESIZED
from toedit.console import say, table
from toedit.corpora import plan_corpus
from toedit.corpora.derived import plan_part
from toedit.corpora.parts import asks_for_part
from toedit.errors import BadConfiguration, naming
from toedit.mixing import SIDES, plan_mix
from toedit.mixing_files import plan_file_mix
from toedit.named_tokenizers import NamedTokenizer, plan_unnamed, tokenizer_or_prior
from toedit.stages import edit, synthesize


def plan(config: Config) -> Artifact:
    return plan_from(config, Path(config.out) if config.out else None)


def plan_from(config: Config, out: Path | None = None) -> Artifact:
    """The mixture that `config` names. A side that gives nothing is not read, nor need it exist."""
    mix, root = config.mix, Path(config.artifacts)
    if mix.mode == "tokens" and mix.tokens is None:
        raise BadConfiguration("mix.mode=tokens needs mix.tokens=<number of tokens>")
    gives = {"human": mix.synthetic_ratio < 1, "synthetic": mix.synthetic_ratio > 0}
    corpora = {side: plan_side(config, side) for side in SIDES if gives[side]}
    tokenizer: NamedTokenizer | Artifact | None = None
    if mix.mode == "tokens" or mix.tokenizer is not None:
        tokenizer = tokenizer_or_prior(mix.tokenizer, "mix.tokenizer", config.prior, root, config.seed, config.dry_run)
    if isinstance(tokenizer, Artifact):
        apart = {key: getattr(mix, key) for key in ("mode", "synthetic_ratio", "tokens", "seed")}
        return plan_unnamed("corpus", corpora, tokenizer, root, out, apart)
    if mix.mode == "files":
        return plan_file_mix(corpora, mix, tokenizer, config.tokens.processes, root, out)
    assert tokenizer is not None
    return plan_mix(corpora, mix, tokenizer, config.tokens.processes, root, out)


def plan_side(config: Config, side: str, changed: bool = True) -> Artifact:
    """The corpus of one side; with `changed=False` as it was before `mix.edit_human` and `mix.select_synthetic`."""
    if side == "synthetic" and config.mix.select_synthetic and changed:
        whole, select = plan_side(config, side, changed=False), config.select
        select = select if select.has_target else replace(select, target=config.mix.human)
        selected: Artifact = command.stage_module("select").plan_from(replace(config, select=select, out=None), whole)
        return selected
    section, root = getattr(config.mix, side), Path(config.artifacts)
    if section.kind != SYNTHESIZED:
        with naming("corpus.", f"mix.{side}."):
            if side == "human" and config.mix.edit_human and changed:
                return edit.plan(replace(config, corpus=section, out=None))
            return plan_corpus(section, root)
    whole = synthesize.plan(replace(config, out=None))
    return plan_part(section, whole, root, None) if asks_for_part(section) else whole


def report(config: Config, artifact: Artifact) -> dict[str, str]:
    counts = artifact.manifest()["counts"]
    mixed, ratio = counts["mix"], counts["mix"]["synthetic_ratio"]
    sides = [side for side in SIDES if side in mixed]
    unit = ratio.get("measured_in", "tokens")
    if "tokens" in mixed:
        rows = [[side, *(f"{mixed[side][key]:,}" for key in ("asked", "achieved", "documents"))] for side in sides]
        table(["side", "tokens asked", "achieved", "documents"], rows)
    else:
        rows = [[side, *(f"{mixed[side][key]:,}" for key in ("files", "documents", unit))] for side in sides]
        table(["side", "files", "documents", unit], rows)
    say(f"synthetic: asked {ratio['asked']:.4%}, achieved {ratio['achieved']:.4%} of the {unit}")
    if counts["renamed"]:
        say(f"{counts['renamed']:,} documents got another id, because theirs was taken")
    return {"documents": f"{counts['documents_out']:,}", "synthetic": f"{ratio['achieved']:.4%}"}
