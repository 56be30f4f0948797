"""The command. `python run.py` lists the stages; everything after it is Hydra overrides of `configs/`.

    python run.py stage=edit                                          the main job, on the embedded default
    python run.py stage=edit corpus=local corpus.path=my.jsonl prior=local prior.path=my-model out=edited
    python run.py -m stage=edit edit.p=0.9,0.99,0.999 edit.k=4,8,64   a sweep: scored once
    python run.py experiment=paper/ablation_p scale=tiny              a whole experiment of the paper
    python run.py stage=edit dry_run=true                             what it would do, and at what cost

Exit codes: 0 done, 2 bad configuration or unusable input, 3 missing input, 75 interrupted and resumable.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from toedit import command, sweeps
from toedit.command import Stage
from toedit.console import note, say
from toedit.executors import addresses

STAGES = {
    "corpus": Stage(
        "toedit.stages.corpus",
        "files, a hub data set, or the installed documentation",
        "a corpus: documents/*.jsonl.zst",
        "python run.py stage=corpus corpus=local corpus.path=my.jsonl.gz",
    ),
    "prior": Stage(
        "toedit.stages.prior",
        "a corpus, a model folder or a hub id",
        "the prior: hf/",
        "python run.py stage=prior",
    ),
    "plan": Stage(
        "toedit.stages.plan",
        "a corpus, or plan.tokens",
        "what a pass would cost with priors from the tiny one to 70B: FLOPs, hours, memory, disk",
        "python run.py stage=plan plan.tokens=1e12 plan.device=h100",
    ),
    "score": Stage(
        "toedit.stages.score",
        "a corpus and a prior",
        "scores/*.parquet: log P of each token, candidates of the confident ones",
        "python run.py stage=score corpus=local corpus.path=my.jsonl prior=local prior.path=my-model",
    ),
    "forecast": Stage(
        "analysis.expected_changes",
        "scores",
        "the exact expected share of changed tokens on a grid of p, k and temperature: a table, a heat map",
        "python run.py stage=forecast 'plan.p=[0.95,0.99]' 'plan.k=[8,64]' 'plan.temperature=[1,1.5]'",
    ),
    "edit": Stage(
        "toedit.stages.edit",
        "scores",
        "an edited corpus and its ledger edits/*.parquet",
        "python run.py stage=edit edit.p=0.99 edit.k=8",
    ),
    "revert": Stage(
        "toedit.stages.revert",
        "an edited corpus",
        "the original corpus, byte for byte",
        "python run.py stage=revert edited.path=my-edited-corpus out=original",
    ),
    "diff": Stage(
        "toedit.stages.diff",
        "an edited corpus",
        "diff.html: documents tinted by probability, edits marked",
        "python run.py stage=diff diff.documents=3",
    ),
    "export_dolma": Stage(
        "toedit.stages.export_dolma",
        "an edited corpus, and the corpus it was made from",
        "its ledger as attributes of the original documents, and the configuration of the Dolma toolkit's mixer",
        "python run.py stage=export_dolma edited.path=my-edited-corpus out=for-dolma",
    ),
    "synthesize": Stage(
        "toedit.stages.synthesize",
        "a causal language model; a corpus, where documents begin with prompts",
        "a synthetic corpus: documents/*.jsonl.zst",
        "python run.py stage=synthesize",
    ),
    "select": Stage(
        "analysis.selection.stage",
        "a corpus; for select.method=dsir a target corpus",
        "a part of it: documents chosen by DSIR, perplexity, density, a classifier, or at random",
        "python run.py stage=select select.method=density select.share=0.1",
    ),
    "mix": Stage(
        "toedit.stages.mix",
        "a human and a synthetic corpus",
        "a mixture of them with exactly mix.tokens tokens, or of whole files (mix=files)",
        "python run.py stage=mix mix.synthetic_ratio=0.25",
    ),
    "tokenize": Stage(
        "toedit.stages.tokenize",
        "a corpus, a mixture, an edited corpus or a selection",
        "token files as OLMo reads them: *.npy, *.csv.gz, tokenizer/",
        "python run.py stage=tokenize tokens.source=edited",
    ),
    "pretrain": Stage(
        "pretrain.stage",
        "tokens",
        "a language model from scratch: hf/, metrics.csv, state/",
        "python run.py stage=pretrain tokens.path=my-tokens",
    ),
    "continual_pretrain": Stage(
        "continual_pretrain.stage",
        "a model, and a corpus, a mixture, an edited corpus or tokens",
        "that model, trained further: hf/, metrics.csv, state/",
        "python run.py stage=continual_pretrain base.path=my-model corpus=local corpus.path=my.jsonl",
    ),
    "sft": Stage(
        "sft.stage",
        "a model, and instruction data or its edited version",
        "that model, fine-tuned on the responses: hf/, metrics.csv, state/",
        "python run.py stage=sft base.path=my-model corpus=local corpus.path=rows.json corpus.layout=alpaca",
    ),
    "analyze": Stage(
        "analysis.stage",
        "scores, or a corpus; a second corpus (analysis.other), where two are compared",
        "a figure and its data: token probabilities (Figure 5, Table 6), perplexities (Figure 3), n-grams, embeddings "
        "(Figure 4B), density, the prior's calibration",
        "python run.py stage=analyze analysis=token_probability",
    ),
    "theory": Stage(
        "analysis.theory.stage",
        "nothing; a corpus, where a study is about real text",
        "a figure or table of the statistics of model collapse: bounds, simulations, small language models",
        "python run.py stage=theory theory=bound theory.d=10 theory.T=200 theory.masks=fresh theory.share=0.125",
    ),
    "eval": Stage(
        "eval.stage",
        "a model, and text sets or tasks",
        "results.json, results.csv: perplexity a set or accuracy a task, with standard errors and how it was measured",
        "python run.py stage=eval eval=perplexity checkpoint.path=my-model eval.sets=my.jsonl",
    ),
    "report": Stage(
        "analysis.reports.stage",
        "finished experiments and evaluations",
        "a table or figure of the paper beside its own numbers, with verdicts; report=all: one page of everything",
        "python run.py stage=report report=table15 build_missing=true experiment.seeds=[0] scale.sample_documents=200",
    ),
    "experiment": Stage(
        "analysis.experiment",
        "what its points need (configs/experiment/)",
        "a whole experiment: its table beside the published numbers, its data, its figure",
        "python run.py experiment=paper/ablation_p scale=tiny",
    ),
}
command.STAGES.update(STAGES)

_failures: list[BaseException] = []


def print_stages() -> None:
    """What each stage reads and writes, with a command to try."""
    say("python run.py stage=<stage> [key=value ...]      (dry_run=true shows the plan, --cfg job the configuration)\n")
    for name, stage in STAGES.items():
        say(f"  {name:<18} reads   {stage.reads}")
        say(f"                     writes  {stage.writes}")
        say(f"                     e.g.    {stage.example}\n")


def run(composed: Any) -> None:
    """Hydra's task: one stage with one configuration. Errors go into `_failures` or a file, not up Hydra's stack."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    hydra = HydraConfig.get()
    is_point = hydra.mode == RunMode.MULTIRUN
    if is_point and not hydra.job.chdir:
        os.chdir(hydra.runtime.cwd)  # where a launcher runs this point on another machine
    overrides = list(hydra.overrides.task)
    if is_point:
        note(f"point {hydra.job.num}: {' '.join(overrides)}")
    row, failure = {}, None
    report = Path(hydra.runtime.output_dir) / "report.txt"
    try:
        with sweeps.report_into(report) if is_point else nullcontext():
            row = run_point(OmegaConf.to_container(composed, resolve=True))
    except BaseException as error:
        failure = error
        if not is_point or not isinstance(error, Exception):
            _failures.append(error)
    if is_point:  # a failed point must not stop the others, whichever process runs them
        sweeps.write_point(Path(hydra.sweep.dir), hydra.job.num, overrides, row, failure)
        if failure in _failures:
            raise KeyboardInterrupt


def run_point(composed: Any) -> dict[str, str]:
    """Run the stage that the configuration names, or else its experiment; return its row."""
    command.STAGES.update(STAGES)  # where a launcher runs this point in a process of its own
    config = command.build_config(composed)
    name = "experiment" if config.stage.name is None and config.experiment.name else config.stage.name
    return command.run_stage(command.stage_module(name), config)


def main(arguments: list[str]) -> int:
    """Compose, run, and turn every outcome into an exit code."""
    if not arguments or set(arguments) & {"-h", "--help"}:
        print_stages()
        return 0
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors reach us instead of Hydra's own exit
    sys.argv = [sys.argv[0], *arguments]
    try:
        with command.signals_interrupt():
            import hydra  # here, where a lack of memory ends in one line, too
            from hydra.core.config_store import ConfigStore

            from toedit.config import Config

            ConfigStore.instance().store(name="schema", node=Config)
            addresses.check_launcher(arguments, seconds=Config().executor.connect_seconds)
            hydra.main(version_base="1.3", config_path="configs", config_name="config")(run)()
            if _failures:
                raise _failures.pop()
    except SystemExit as stop:  # Hydra's own flags (--cfg, --info) end so
        return stop.code if isinstance(stop.code, int) else 2
    except BaseException as error:
        known = command.as_user_error(error)
        if known is None:
            raise
        return command.end_with(known)
    return sweeps.close_sweep()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
