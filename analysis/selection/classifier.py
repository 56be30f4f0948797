"""What a sequence-classification model of Transformers thinks of every document: an educational-quality classifier.

Reads a corpus and a model (`select.classifier.path`, a folder or a hub id: HuggingFaceFW/fineweb-edu-classifier is a
regression with one output). Writes document_values: that output, or the log-probability of `select.classifier.label`.
A document is cut at `select.classifier.max_tokens` tokens, or at what the model can read; documents of like length are
judged together.

Shapes: D documents, C classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.selection.document_values import ShardValues, build_values
from toedit.artifacts import Artifact
from toedit.config import ClassifierConfig, Config
from toedit.documents import read_documents
from toedit.errors import BadConfiguration, UnusableInput
from toedit.priors import model_folder, plan_model
from toedit.workspace import Result, Workspace

KEY = "select.classifier.path"


def plan_values(config: Config, raw: Artifact) -> Artifact:
    """The judgements of the documents of `raw`."""
    settings, root = config.select.classifier, Path(config.artifacts)
    model = plan_model(settings.path, KEY, root, revision=settings.revision)
    return Artifact(
        kind="document_values",
        name=f"{raw.name}.{model.name}",
        identity={
            "method": "classifier",
            **{key: getattr(settings, key) for key in ("label", "max_tokens", "dtype")},
        },
        inputs={"corpus": raw, "model": model},
        root=root,
        build=partial(build, settings=settings),
    )


def build(workspace: Workspace, settings: ClassifierConfig) -> Result:
    judge: list[Judge] = []

    def of_shard(shard: Path) -> ShardValues:
        if not judge:  # where every shard is there already, no model is loaded
            judge.append(Judge(model_folder(workspace.inputs["model"]), settings))
        documents = list(read_documents(shard))
        return [document["id"] for document in documents], judge[0]([document["text"] for document in documents])

    return build_values(workspace, "judge documents", of_shard)


class Judge:
    """The model with its tokenizer."""

    def __init__(self, folder: Path, settings: ClassifierConfig) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.torch, self.settings = torch, settings
        device = "cuda" if settings.device == "auto" and torch.cuda.is_available() else settings.device
        self.device = torch.device("cpu" if device == "auto" else device)
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            dtype = getattr(torch, settings.dtype)
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=dtype, output_loading_info=True
            )
        except Exception as error:  # the library raises whatever its parts raise
            raise UnusableInput(f"{KEY}={settings.path}: cannot be loaded ({_first_line(error)})") from None
        self.model, info = loaded
        if info["missing_keys"]:
            raise UnusableInput(
                f"{KEY}={settings.path}: is no sequence-classification model (its weights lack "
                f"{sorted(info['missing_keys'])[0]})"
            )
        self.model.to(self.device).eval()
        classes = int(self.model.config.num_labels)
        if classes > 1 and (settings.label is None or settings.label >= classes):
            raise BadConfiguration(
                f"select.classifier.label={settings.label}: the model has {classes} classes; name the wanted one, "
                f"0 to {classes - 1}"
            )
        if classes == 1 and settings.label is not None:
            raise BadConfiguration(f"select.classifier.label={settings.label}: the model has one output; leave it null")
        positions = getattr(self.model.config, "max_position_embeddings", None) or settings.max_tokens
        self.max_tokens = min(settings.max_tokens, positions, self.tokenizer.model_max_length)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
            self.model.config.pad_token_id = self.tokenizer.pad_token_id

    def __call__(self, texts: list[str]) -> NDArray[np.float64]:
        """`value_D`, one a text."""
        value_D = np.zeros(len(texts))
        order = np.argsort([len(text) for text in texts], kind="stable")  # little padding
        for start in range(0, len(order), self.settings.batch_documents):
            chosen = order[start : start + self.settings.batch_documents]
            value_D[chosen] = self._judge([texts[document] for document in chosen])
        return value_D

    def _judge(self, texts: list[str]) -> NDArray[np.float64]:
        encoded = self.tokenizer(
            texts, return_tensors="pt", padding="longest", truncation=True, max_length=self.max_tokens
        )
        if not encoded["input_ids"].shape[1]:  # white space alone, to some tokenizers
            return np.full(len(texts), np.nan)
        with self.torch.inference_mode():
            logit_DC = self.model(**encoded.to(self.device)).logits.float()
        label = self.settings.label
        value_D = logit_DC[:, 0] if label is None else logit_DC.log_softmax(-1)[:, label]
        return np.asarray(value_D.cpu().numpy(), np.float64)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
