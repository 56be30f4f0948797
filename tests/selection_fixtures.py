"""What tests of selection share: a classifier of the format that `select.method=classifier` reads."""

import json
from pathlib import Path

import torch
from artifact_fixtures import tokenizer_definition


def classifier_folder(folder: Path, classes: int = 1) -> Path:
    """A tiny model of the format of fineweb-edu-classifier, a sequence classifier; its weights are random."""
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    shape = BertConfig(vocab_size=130, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=32, max_position_embeddings=64, num_labels=classes)  # fmt: skip
    model = BertForSequenceClassification(shape)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(20)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer_definition("wordpiece"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[UNK]"})
    )
    return folder
