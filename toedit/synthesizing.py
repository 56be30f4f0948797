"""`stage=synthesize`: a synthetic corpus, sampled from any causal language model.

Reads a model and, where there are prompts, a corpus. Writes a corpus artifact; `metadata.synthesis` of a document names
model, temperature, top_p and the prompt with the document it was taken from.

    python run.py stage=synthesize prior=local prior.path=my-model synthesis.tokens=1000000 synthesis.prompt_tokens=32

Document number n has the same tokens in every run: its random numbers are its own (`toedit/transformers_sampling.py`;
`toedit/vllm_sampling.py` says what holds there), its prompt is the n-th in the order of a hash of (seed, id), from the
start again after the last. A shard is committed as a whole, and a killed run goes on behind the last one. What the
model ends at once, or what is nothing but special tokens, is no document: it is listed in rejected.jsonl.

Prompts are drawn in one pass that holds no more of them than may be needed, so the corpus may be large.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from toedit.artifacts import Artifact
from toedit.config import SynthesisConfig
from toedit.console import Progress
from toedit.documents import Document, ShardWriter, documents_file, read_documents, shard_name, shard_paths
from toedit.errors import BadConfiguration, UnusableInput
from toedit.prior_pass import context_id
from toedit.priors import model_folder, model_shape
from toedit.sampling import Sampler, load_sampler
from toedit.tokenizing import load_tokenizer, plain_tokenizer, read_definition
from toedit.uniforms import document_keys
from toedit.workspace import Result, Workspace

REJECTED = "rejected.jsonl"
METADATA_KEY = "synthesis"
_RUNTIME_KEYS = ("batch_size", "device", "python")
_CHARACTERS_PER_TOKEN = 64  # of a prompt's document that are kept until it is tokenised; more than any prompt needs
_COUNTS = ("documents_in", "documents_out", "rejected", "tokens", "bytes", "ended")


def plan_synthesis(
    model: Artifact, corpus: Artifact | None, synthesis: SynthesisConfig, root: Path, out: Path | None = None
) -> Artifact:
    """The corpus that `model` writes, after prompts from `corpus` where there is one."""
    identity = {key: value for key, value in asdict(synthesis).items() if key not in (*_RUNTIME_KEYS, "model")}
    if corpus is None:
        identity.pop("keep_prompt")
    return Artifact(
        kind="corpus",
        name=describe(model.name, synthesis),
        identity={"source": "synthesis", **identity},
        inputs={"model": model} | ({"corpus": corpus} if corpus is not None else {}),
        root=root,
        out=out,
        build=partial(build_synthesis, model_name=model.name, synthesis=synthesis),
        estimate=lambda: {"tokens": f"{synthesis.tokens:,} to sample"},
    )


def describe(model: str, synthesis: SynthesisConfig) -> str:
    """`synthetic.tiny-t0.8`, for addresses."""
    parts = [f"synthetic.{model}"]
    parts += [synthesis.engine] if synthesis.engine != "transformers" else []
    parts += [f"prompt{synthesis.prompt_tokens}"] if synthesis.prompt_tokens else []
    parts += [f"t{synthesis.temperature:g}"] if synthesis.temperature != 1 else []
    parts += [f"mass{synthesis.top_p:g}"] if synthesis.top_p < 1 else []
    parts += [f"seed{synthesis.seed}"] if synthesis.seed else []
    return "-".join(parts)


def build_synthesis(workspace: Workspace, model_name: str, synthesis: SynthesisConfig) -> Result:
    """Sample shard after shard until there are tokens enough."""
    writer: Writer | None = None  # the model is loaded only if there is something left to sample
    counts = dict.fromkeys(_COUNTS, 0)
    result, rejected, shard = Result(counts=counts, seeds={"synthesis": synthesis.seed}), [], 0
    with Progress("synthesize", synthesis.tokens, "tokens") as progress:
        while counts["tokens"] < synthesis.tokens:
            record = workspace.finished(shard_name(shard))
            if record is None:
                writer = writer or Writer(workspace, model_name, synthesis)
                output = documents_file(shard_name(shard))
                with workspace.shard(shard_name(shard), output) as ((path,), record):
                    record.update(writer.write_shard(path, shard, synthesis.tokens - counts["tokens"], progress))
            else:
                progress.skip(record["tokens"])
            for key in _COUNTS:
                counts[key] += record[key]
            rejected += record["empty"]
            result.rows[documents_file(shard_name(shard))] = record["documents_out"]
            if not record["documents_out"]:
                raise UnusableInput(
                    f"{model_name}: {record['documents_in']} documents in a row are empty; the model ends every text "
                    "at once"
                )
            shard += 1
    lines = [json.dumps({"file": model_name, "line": line, "reason": "text is empty"}) for line in rejected]
    with workspace.shard("rejected", REJECTED) as ((path,), _):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    result.rows[REJECTED] = len(rejected)
    result.runtime = {key: getattr(synthesis, key) for key in _RUNTIME_KEYS}
    if writer is not None:
        result.runtime["engine"] = writer.sampler.versions
    return result


@dataclass(frozen=True)
class Prompt:
    """The beginning of a document, as the model's tokens."""

    document: str | None
    token_ids: list[int]


class Writer:
    """The model with its tokenizer and prompts, ready to write shards."""

    def __init__(self, workspace: Workspace, model_name: str, synthesis: SynthesisConfig) -> None:
        folder = model_folder(workspace.inputs["model"])
        self.model_name, self.synthesis = model_name, synthesis
        self.tokenizer: Tokenizer = plain_tokenizer(read_definition(folder)[0])
        named = load_tokenizer(folder)
        start = context_id(named, "auto", folder)
        self.start = [] if start is None else [start]
        if not self.start and not synthesis.prompt_tokens:
            raise BadConfiguration(
                "synthesis.prompt_tokens=0: the tokenizer has no token that begins a text, so the model needs prompts"
            )
        longest = len(self.start) + synthesis.prompt_tokens + synthesis.max_new_tokens
        self._refuse_too_long(longest, model_shape(folder).context)
        self.prompts = draw_prompts(workspace.inputs.get("corpus"), self.tokenizer, synthesis)
        end_ids = sorted({*_end_ids(folder), *([named.eos_id] if named.eos_id is not None else [])})
        self.sampler: Sampler = load_sampler(folder, synthesis, end_ids, named.vocabulary_size, longest)

    def _refuse_too_long(self, needed: int, context: int | None) -> None:
        synthesis = self.synthesis
        if context is not None and needed > context:
            raise BadConfiguration(
                f"synthesis.max_new_tokens={synthesis.max_new_tokens}: with synthesis.prompt_tokens="
                f"{synthesis.prompt_tokens} this makes {needed} tokens; {self.model_name} takes {context}"
            )

    def write_shard(self, path: Path, shard: int, budget: int, progress: Progress) -> dict[str, Any]:
        """Write the documents of one shard, up to the one that reaches the budget; return counts and empty ones."""
        counts: dict[str, Any] = {**dict.fromkeys(_COUNTS, 0), "empty": []}
        first = shard * self.synthesis.shard_documents
        numbers = range(first, first + self.synthesis.shard_documents)
        with ShardWriter(path) as writer:
            while numbers:
                size = self._batch_size(budget - counts["tokens"])
                batch, numbers = numbers[:size], numbers[size:]
                for number, document, tokens, ended in self._batch(batch):
                    counts["documents_in"] += 1
                    if not tokens:
                        counts["rejected"] += 1
                        counts["empty"].append(number + 1)
                        continue
                    writer.write(document)
                    counts["documents_out"] += 1
                    counts["tokens"] += tokens
                    counts["bytes"] += len(document["text"].encode())
                    counts["ended"] += ended
                    progress.advance(tokens, f"{number + 1} documents")
                    if counts["tokens"] >= budget:
                        return counts
        return counts

    def _batch_size(self, budget: int) -> int:
        """Documents to ask for: those that the budget takes however long they are, a batch at least."""
        surely = budget // (self.synthesis.prompt_tokens + self.synthesis.max_new_tokens)
        return min(max(surely, self.synthesis.batch_size), self.sampler.most_documents)

    def _batch(self, numbers: range) -> Iterator[tuple[int, Document, int, bool]]:
        """(number, document, tokens of its text, did the model end it) for some documents sampled together."""
        prompts = [self.prompts[number % len(self.prompts)] for number in numbers]
        ids = [f"{self.model_name}-seed{self.synthesis.seed}/{number:08d}" for number in numbers]
        sampled = self.sampler.sample([self.start + prompt.token_ids for prompt in prompts], ids)
        texts = [self._text(prompt, new) for prompt, new in zip(prompts, sampled, strict=True)]
        encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        for number, name, prompt, new, text, encoding in zip(
            numbers, ids, prompts, sampled, texts, encoded, strict=True
        ):
            facts: dict[str, Any] = {
                "model": self.model_name,
                "temperature": self.synthesis.temperature,
                "top_p": self.synthesis.top_p,
            }
            if prompt.document is not None:
                facts |= {"prompt": self.tokenizer.decode(prompt.token_ids), "prompt_document": prompt.document}
            source = f"synthesized by {self.model_name}"
            document = {"id": name, "text": text, "source": source, "metadata": {METADATA_KEY: facts}}
            yield number, document, len(encoding), bool(new) and new[-1] in self.sampler.end_ids

    def _text(self, prompt: Prompt, new: list[int]) -> str:
        """What was written, without special tokens; a character that the end cut to pieces is left out."""
        whole = self.tokenizer.decode(prompt.token_ids + new, skip_special_tokens=True)
        if not self.synthesis.keep_prompt:
            known = self.tokenizer.decode(prompt.token_ids, skip_special_tokens=True)
            begins = prompt.token_ids and whole.startswith(known)
            whole = whole[len(known) :] if begins else self.tokenizer.decode(new, skip_special_tokens=True)
        return whole.rstrip("\N{REPLACEMENT CHARACTER}")


def draw_prompts(corpus: Path | None, tokenizer: Tokenizer, synthesis: SynthesisConfig) -> list[Prompt]:
    """Prompts in the order of a hash of (seed, id): one empty prompt where there is no corpus."""
    if corpus is None:
        return [Prompt(None, [])]
    most = 2 * (synthesis.tokens // synthesis.max_new_tokens + 1) + synthesis.shard_documents
    length = (synthesis.prompt_tokens + 1) * _CHARACTERS_PER_TOKEN

    def keyed() -> Iterator[tuple[tuple[int, ...], str, str]]:
        for shard in shard_paths(corpus):
            for document in read_documents(shard):
                key = tuple(document_keys(synthesis.seed, [document["id"]])[0].tolist())
                yield key, document["id"], document["text"][:length]

    drawn = heapq.nsmallest(most, keyed(), key=lambda item: item[0])
    encoded = tokenizer.encode_batch_fast([text for _, _, text in drawn], add_special_tokens=False)
    ids_of = [encoding.ids[: synthesis.prompt_tokens] for encoding in encoded]
    prompts = [Prompt(name, ids) for (_, name, _), ids in zip(drawn, ids_of, strict=True) if ids]
    if not prompts:
        raise UnusableInput(f"{corpus}: no document has a token to begin a prompt with")
    return prompts


def _end_ids(folder: Path) -> list[int]:
    """The tokens that end a text by the model's own generation_config.json: chat models have several."""
    try:
        named = json.loads((folder / "generation_config.json").read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, ValueError, AttributeError):
        return []
    return [token for token in (named if isinstance(named, list) else [named]) if isinstance(token, int)]
