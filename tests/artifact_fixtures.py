"""Small real artifacts (corpus, prior, scores, edited corpus) with random scores: no model is run.

The tokenizers are trained here on a few lines, so that tokens of every awkward kind occur: pieces of characters
(byte-level BPE), text that no token stands for (WordPiece swallows spaces), unscored first tokens.
"""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from toedit import tokenizing
from toedit.artifacts import Artifact
from toedit.config import EditConfig
from toedit.document_views import DocumentView, Edit
from toedit.documents import ShardWriter, shard_name
from toedit.edit_corpus import EDITS, plan_edit
from toedit.scores import ShardScores, write_scores
from toedit.splicing import splice
from toedit.tokenizing import PriorTokenizer
from toedit.workspace import Result, Workspace

TRAINING_TEXT = [
    "the cat sat on the mat, and the dog sat on the cat\n",
    "a <b>bold</b> claim & a 'quoted' \"one\"\n",
] * 20
CANDIDATES = 4


@cache
def tokenizer_definition(family: str = "byte_level") -> str:
    """tokenizer.json of a byte-level BPE or of a lower-casing WordPiece."""
    if family == "byte_level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return tokenizer.to_str()


@cache
def load_tokenizer(family: str = "byte_level") -> PriorTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.json").write_text(tokenizer_definition(family))
        return tokenizing.load_tokenizer(Path(folder))


def random_scores(ids: list[str], texts: list[str], seed: int, confident: float = 0.5) -> ShardScores:
    """U-shaped log-probabilities; the first token of a document is unscored, candidates where P >= 0.9."""
    generator = np.random.default_rng(seed)
    tokenizer = load_tokenizer()
    encoded = tokenizer.encode(texts)
    token_offset_D1 = np.cumsum([0, *(len(document.token_ids_T) for document in encoded)])
    token_id_T = np.concatenate([document.token_ids_T for document in encoded])
    tokens = len(token_id_T)
    sure_T, unsure_T = 1 - generator.uniform(0, 0.05, tokens), generator.beta(0.4, 1, tokens)
    probability_T = np.where(generator.random(tokens) < confident, sure_T, unsure_T)
    logprob_T = np.log(np.maximum(probability_T, 1e-30)).astype(np.float32)
    logprob_T[token_offset_D1[:-1][np.diff(token_offset_D1) > 0]] = np.nan
    token_N = np.flatnonzero(logprob_T >= np.log(0.9))
    # The alternatives are ids far from each other and never the token itself.
    step_K = np.array([0, 71, 141, 211])
    candidate_id_NK = (token_id_T[token_N, None] + step_K) % tokenizer.vocabulary_size
    rest_N1 = np.log1p(-np.exp(logprob_T[token_N, None].astype(np.float64)) + 1e-9)
    candidate_logprob_NK = np.concatenate(
        [logprob_T[token_N, None], rest_N1 + np.log([[0.5, 0.3, 0.2]])], axis=1, dtype=np.float32, casting="same_kind"
    )
    candidate_offset_D1 = np.searchsorted(token_N, token_offset_D1)
    document_N = np.repeat(np.arange(len(ids)), np.diff(candidate_offset_D1))
    return ShardScores(
        ids=ids,
        token_offset_D1=token_offset_D1,
        token_id_T=token_id_T,
        span_T2=np.concatenate([document.span_T2 for document in encoded]),
        logprob_T=logprob_T,
        candidate_offset_D1=candidate_offset_D1,
        candidate_position_N=(token_N - token_offset_D1[document_N]).astype(np.int32),
        candidate_id_NK=candidate_id_NK.astype(np.int32),
        candidate_logprob_NK=candidate_logprob_NK,
    )


def build_scores(
    root: Path, texts: list[str], ids: list[str] | None = None, shard_size: int = 2, seed: int = 0
) -> Artifact:
    """A finished scores artifact below `root`, with its corpus and prior."""
    ids = ids or [f"doc/{number}" for number in range(len(texts))]
    slices = [slice(start, start + shard_size) for start in range(0, len(ids), shard_size)]
    shards = [(ids[part], texts[part]) for part in slices]

    def build_corpus(workspace: Workspace) -> Result:
        for number, (shard_ids, shard_texts) in enumerate(shards):
            shard = shard_name(number)
            with (
                workspace.shard(shard, f"documents/{shard}.jsonl.zst") as ((path,), _),
                ShardWriter(path) as writer,
            ):
                for document_id, text in zip(shard_ids, shard_texts, strict=True):
                    writer.write({"id": document_id, "text": text, "source": "fixture <&>"})
        return Result()

    def build_prior(workspace: Workspace) -> Result:
        (workspace.path / "tokenizer.json").write_text(tokenizer_definition())
        (workspace.path / "config.json").write_text(json.dumps({"vocab_size": load_tokenizer().vocabulary_size}))
        return Result()

    def build(workspace: Workspace) -> Result:
        counts = {"documents": 0, "tokens": 0, "scored": 0, "confident": 0}
        for number, (shard_ids, shard_texts) in enumerate(shards):
            scores = random_scores(shard_ids, shard_texts, seed + number)
            with workspace.shard(shard_name(number), f"scores/{shard_name(number)}.parquet") as ((path,), _):
                write_scores(path, scores)
            counts["documents"] += len(shard_ids)
            counts["tokens"] += len(scores.token_id_T)
            counts["scored"] += int((~np.isnan(scores.logprob_T)).sum())
            counts["confident"] += len(scores.candidate_position_N)
        return Result(counts=counts)

    corpus = Artifact("corpus", "fixture", {"ids": ids, "texts": texts}, root, build=build_corpus)
    prior = Artifact("checkpoint", "random", {"seed": 0}, root, build=build_prior)
    identity = {"min_p": 0.9, "top_k": CANDIDATES, "seed": seed}
    scores = Artifact("scores", "fixture.random", identity, root, {"corpus": corpus, "prior": prior}, build=build)
    scores.ensure()
    return scores


def build_edited(
    root: Path, texts: list[str], ids: list[str] | None = None, edit: EditConfig | None = None, out: Path | None = None
) -> Artifact:
    """A finished edited corpus; by default hot enough that about half of the eligible tokens change."""
    edit = edit or EditConfig(p=0.9, k=CANDIDATES, temperature=20.0)
    edited = plan_edit(build_scores(root, texts, ids), edit, root, out)
    edited.ensure()
    return edited


def ledger_ids(edited: Path) -> list[str]:
    """The ids of all ledger rows, in order."""
    shards = sorted((edited / EDITS).glob("*.parquet"))
    return [document_id for path in shards for document_id in pq.read_table(path).column("id").to_pylist()]


def make_view(
    text: str, document_id: str = "doc/0", seed: int = 0, family: str = "byte_level", rate: float = 0.3
) -> tuple[DocumentView, str]:
    """A view made in memory, and the edited text: `rate` of the tokens drawn anew, at random."""
    generator = np.random.default_rng(seed)
    tokenizer = load_tokenizer(family)
    document = tokenizer.encode([text])[0]
    count = len(document.token_ids_T)
    position_C = np.flatnonzero(generator.random(count) < rate)
    new_id_C = generator.integers(0, tokenizer.vocabulary_size, len(position_C))
    spliced = splice(text.encode(), document.span_T2, document.token_ids_T, position_C, new_id_C, tokenizer)
    logprob_T = np.log(generator.beta(0.3, 0.3, count).clip(1e-12))
    logprob_T[:1] = np.nan
    edits = {row.position: Edit(**row._asdict(), old_logprob=-0.005, new_logprob=-5.5) for row in spliced.rows}
    view = DocumentView(document_id, "source", text, count, len(edits), document.span_T2, logprob_T, edits)
    return view, spliced.text.decode()
