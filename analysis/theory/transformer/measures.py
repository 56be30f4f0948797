"""One generation, measured against real text that no model read.

Reads its model, the text it read, the held-out text with the model's scores of it (`stage=score`), and the real text of
generation 1. Writes

    law.npy         law_CV, float32: the model's next-token law at each of the fixed contexts
    measures.json   loss         nats a token of the held-out text
                    bits_per_byte  the same, by bytes of UTF-8: comparable between tokenizers
                    rare_loss    nats a token, where it ends a rare n-gram
                    rare_recall  share of the rare n-grams that the generation's own text still holds
                    entropy      nats, mean over the contexts

An n-gram of the held-out text is rare where the real text has it 1 to `rare_count` times; so generation 1 recalls all.
Where there is none, both measures of rare n-grams are left out.
Contexts are cut from held-out passages at places that the seed chooses; they are the same for every model.

Shapes: C contexts, L tokens of a context, V entries of the vocabulary, T tokens, N n-grams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toedit.artifacts import Artifact
from toedit.config import ScorerConfig
from toedit.documents import read_documents, shard_paths
from toedit.errors import BadConfiguration, UnusableInput
from toedit.priors import model_folder
from toedit.scores import read_scores
from toedit.tokenizing import PriorTokenizer, load_tokenizer
from toedit.workspace import Result, Workspace, write_json

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
LAW, MEASURES = "law.npy", "measures.json"
_BATCH = 64


@dataclass(frozen=True)
class MeasureSettings:
    """What of the study's settings decides the measures."""

    contexts: int
    context_tokens: int
    rare_ngram: int
    rare_count: int
    seed: int


def plan_measures(
    name: str,
    model: Artifact,
    scores: Artifact,
    text: Artifact,
    real: Artifact,
    held_out: Artifact,
    settings: MeasureSettings,
    scorer: ScorerConfig,
    root: Path,
) -> Artifact:
    """The measures of the generation that `model` and `text` are."""
    return Artifact(
        kind="eval",
        name=name,
        identity={"eval": "generation", **vars(settings)},
        inputs={"model": model, "scores": scores, "text": text, "real": real, "held_out": held_out},
        root=root,
        build=partial(build_measures, settings=settings, device=scorer.device),
    )


def build_measures(workspace: Workspace, settings: MeasureSettings, device: str) -> Result:
    """Measure one generation."""
    inputs = workspace.inputs
    tokenizer = load_tokenizer(model_folder(inputs["model"]))
    held_out = token_ids(inputs["held_out"], tokenizer)
    law_CV = next_token_laws(model_folder(inputs["model"]), choose_contexts(held_out, settings), device)
    logprobs, size = held_out_logprobs(inputs["scores"], inputs["held_out"])
    rare = Rare(tokenizer.vocabulary_size, settings, held_out, token_ids(inputs["real"], tokenizer))
    scored = ~np.isnan(logprobs)
    ends_rare = np.concatenate([rare.ends(ids) for ids in held_out]) & scored
    measures = {
        "loss": -float(logprobs[scored].mean()),
        "bits_per_byte": -float(logprobs[scored].sum()) / np.log(2) / size,
        "entropy": float(-(law_CV * np.log(np.maximum(law_CV, 1e-30))).sum(1).mean()),
    }
    if ends_rare.any():
        measures["rare_loss"] = -float(logprobs[ends_rare].mean())
        measures["rare_recall"] = rare.recall(token_ids(inputs["text"], tokenizer))
    with workspace.shard("measures", LAW, MEASURES) as ((laws, numbers), _):
        with laws.open("wb") as file:
            np.save(file, law_CV.astype(np.float32))
        write_json(numbers, measures)
    counts = {"contexts": len(law_CV), "rare_ngrams": len(rare.rare_N), "tokens": int(scored.sum())}
    return Result(counts=counts, seeds={"contexts": settings.seed})


def token_ids(corpus: Path, tokenizer: PriorTokenizer) -> list[Ints]:
    """The token ids of each document of a corpus artifact."""
    found: list[Ints] = []
    for path in shard_paths(corpus):
        encoded = tokenizer.encode([document["text"] for document in read_documents(path)])
        found += [document.token_ids_T.astype(np.int64) for document in encoded]
    return found


def choose_contexts(passages: Sequence[Ints], settings: MeasureSettings) -> Ints:
    """`token_CL`: contexts from the passages, each place as probable as any other, none twice.

    Raises UnusableInput where the passages have too few places.
    """
    length = settings.context_tokens
    places = np.array([max(len(ids) - length + 1, 0) for ids in passages])
    total, asked = int(places.sum()), settings.contexts
    if total < asked:
        raise UnusableInput(
            f"theory.transformer.contexts={asked}: the held-out text has {total} places with "
            f"theory.transformer.context_tokens={length} tokens before them; shorter contexts, or more text"
        )
    chosen_C = np.sort(np.random.default_rng([settings.seed, 300]).choice(total, asked, replace=False))
    ends = np.cumsum(places)
    passage_C = np.searchsorted(ends, chosen_C, side="right")
    start_C = chosen_C - (ends[passage_C] - places[passage_C])
    cut = [passages[passage][start : start + length] for passage, start in zip(passage_C, start_C, strict=True)]
    return np.stack(cut)


def next_token_laws(model: Path, token_CL: Ints, device: str) -> Floats:
    """`law_CV`: P(next token | context) of a causal LM in a Hugging Face folder."""
    import torch

    from toedit.scorers.torch import find_device, load_causal_lm

    place = find_device(device)
    loaded = load_causal_lm(model, torch.float32).to(place).eval()
    laws = []
    with torch.inference_mode():
        for start in range(0, len(token_CL), _BATCH):
            token_BL = torch.from_numpy(token_CL[start : start + _BATCH]).to(place)
            logit_BV = loaded(input_ids=token_BL, use_cache=False).logits[:, -1]
            laws.append(torch.softmax(logit_BV.double(), -1).cpu().numpy())
    return np.concatenate(laws)


def held_out_logprobs(scores: Path, held_out: Path) -> tuple[Floats, int]:
    """(log-probability of every token of the held-out text, NaN where unscored; its bytes)."""
    shards = shard_paths(held_out)
    found = [read_scores(scores / "scores" / path.name.replace(".jsonl.zst", ".parquet")).logprob_T for path in shards]
    size = sum(len(document["text"].encode()) for path in shards for document in read_documents(path))
    return np.concatenate(found).astype(np.float64), size


class Rare:
    """The rare n-grams of a held-out text, and where they are."""

    def __init__(
        self, vocabulary: int, settings: MeasureSettings, held_out: Sequence[Ints], real: Sequence[Ints]
    ) -> None:
        self.vocabulary, self.length = vocabulary, settings.rare_ngram
        if self.vocabulary**self.length >= 2**62:
            raise BadConfiguration(
                f"theory.transformer.rare_ngram={self.length}: so long n-grams of {vocabulary} tokens are not counted"
            )
        known_N, count_N = np.unique(self._all(real), return_counts=True)
        seldom_N = known_N[count_N <= settings.rare_count]
        self.rare_N = np.intersect1d(np.unique(self._all(held_out)), seldom_N, assume_unique=True)

    def recall(self, texts: Sequence[Ints]) -> float:
        """Share of the rare n-grams that occur in `texts`."""
        return float(np.isin(self.rare_N, self._all(texts)).mean())

    def ends(self, token_id_T: Ints) -> NDArray[np.bool_]:
        """`bool[T]`: whether a rare n-gram ends with this token."""
        ends_T = np.zeros(len(token_id_T), bool)
        ends_T[self.length - 1 :] = np.isin(self._keys(token_id_T), self.rare_N)
        return ends_T

    def _keys(self, token_id_T: Ints) -> Ints:
        """One number for every n-gram."""
        count = len(token_id_T) - self.length + 1
        if count <= 0:
            return np.zeros(0, np.int64)
        key_N = np.zeros(count, np.int64)
        for place in range(self.length):
            key_N = key_N * self.vocabulary + token_id_T[place : place + count]
        return key_N

    def _all(self, texts: Sequence[Ints]) -> Ints:
        return np.concatenate([np.zeros(0, np.int64), *map(self._keys, texts)])
