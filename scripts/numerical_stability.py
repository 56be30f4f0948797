"""How many eligibility decisions depend on arithmetic: float32 or bfloat16, torch or vLLM, batch sizes, windows.

    .venv/bin/python scripts/numerical_stability.py                       # the embedded default
    .venv/bin/python scripts/numerical_stability.py corpus=local corpus.path=my.jsonl prior=local prior.path=M

Scores the same documents in every way, the first of which is the reference, and prints a Markdown table: for each
threshold p, how many tokens a million are on another side of it, and how far log-probabilities move. Rows of vLLM need
its environment (scripts/environment_vllm.sh); without it they say so.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from numpy.typing import NDArray
from omegaconf import OmegaConf

from toedit.command import build_config
from toedit.config import Config, ScoreConfig, ScorerConfig
from toedit.console import Progress, note
from toedit.corpora import plan_corpus
from toedit.documents import read_documents, shard_paths
from toedit.errors import ToEditError
from toedit.prior_pass import PriorPass
from toedit.priors import model_folder, plan_prior

REPOSITORY = Path(__file__).resolve().parents[1]
THRESHOLDS = (0.9, 0.99, 0.999)


def variants(score: ScoreConfig, window: int) -> dict[str, tuple[ScoreConfig, ScorerConfig]]:
    """The reference first. A shorter window is another model of the text, not noise: its rows are there for scale."""
    score = replace(score, min_p=1.0, dtype="float32", window=window)
    low = replace(score, dtype="bfloat16")
    torch, vllm = ScorerConfig(batch_tokens=4096), ScorerConfig(kind="vllm", batch_tokens=16384)
    return {
        "torch, float32, batches of 4,096 tokens": (score, torch),
        "batches of 512": (score, replace(torch, batch_tokens=512)),
        "batches of 32,768": (score, replace(torch, batch_tokens=32_768)),
        "one document at a time": (score, replace(torch, batch_tokens=1)),
        "vLLM, float32": (score, vllm),
        "torch, bfloat16": (low, torch),
        "torch, bfloat16, one document at a time": (low, replace(torch, batch_tokens=1)),
        "vLLM, bfloat16": (low, vllm),
        f"torch, float32, windows of {window // 2}": (replace(score, window=window // 2), torch),
        f"torch, float32, windows of {window // 4}": (replace(score, window=window // 4), torch),
    }


def logprobs(model: Path, score: ScoreConfig, scorer: ScorerConfig, texts: list[str]) -> NDArray[np.float64]:
    prior = PriorPass(model, score, scorer)
    with Progress("score", 1.0, "of the texts") as progress:
        scores = prior.score_texts([str(number) for number in range(len(texts))], texts, progress, 1.0)
    return scores.logprob_T.astype(np.float64)


def read_texts(config: Config, tokens: int) -> tuple[list[str], Path, int]:
    """Documents of about so many tokens, the prior's folder and its window."""
    root = Path(config.artifacts)
    corpus, prior = plan_corpus(config.corpus, root), plan_prior(config.prior, root, config.seed)
    corpus.ensure(), prior.ensure()
    model = model_folder(prior.path)
    measure = PriorPass(model, replace(config.score, min_p=1.0), ScorerConfig())
    texts: list[str] = []
    for path in shard_paths(corpus.path):
        for document in read_documents(path):
            if tokens > 0:
                texts.append(document["text"])
                tokens -= len(measure.tokenizer.encode([document["text"]])[0].token_ids_T)
    return texts, model, measure.window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides: corpus, prior, score.window")
    arguments = parser.parse_args()
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        composed = OmegaConf.to_container(compose("config", overrides=arguments.overrides), resolve=True)
    assert isinstance(composed, dict)
    composed.pop("hydra", None)
    config = build_config({str(key): value for key, value in composed.items()})
    texts, model, window = read_texts(config, arguments.tokens)

    print("| scored by | " + " | ".join(f"P >= {p:g}" for p in THRESHOLDS) + " | mean shift | 99.9 % below | largest |")
    print("|---" * (len(THRESHOLDS) + 4) + "|")
    reference: NDArray[np.float64] | None = None
    for name, (score, scorer) in variants(config.score, window).items():
        note(name)
        try:
            logprob_T = logprobs(model, score, scorer, texts)
        except ToEditError as error:
            print(f"| {name} | not run: {error} |", flush=True)
            continue
        if reference is None:
            reference = logprob_T
            eligible = [f"{(logprob_T >= np.log(p)).sum():,} eligible" for p in THRESHOLDS]
            print(f"| {name}: {len(logprob_T):,} tokens | " + " | ".join(eligible) + " | | | |", flush=True)
            continue
        flips = [((logprob_T >= np.log(p)) != (reference >= np.log(p))).mean() * 1e6 for p in THRESHOLDS]
        shift_T = np.abs(logprob_T - reference)[~np.isnan(reference)]
        cells = [f"{flip:,.0f}" for flip in flips]
        cells += [f"{shift_T.mean():.1e}", f"{np.quantile(shift_T, 0.999):.1e}", f"{shift_T.max():.1e}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
