"""Whether the base's tokenizer can write what LLaMA-Factory writes: a template, and the end of a text.

Reads the tokenizer's files; importing Transformers would take longer than everything else that is done here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.llamafactory_environment import Environment
from toedit.config import Config
from toedit.errors import BadConfiguration

_NEW_TOKENS = ("resize_vocab", "add_tokens", "add_special_tokens", "new_special_tokens_config")
"""Settings of LLaMA-Factory by which a tokenizer grows."""


@dataclass(frozen=True)
class Tokenizer:
    """What is asked of a base's tokenizer."""

    has: Callable[[str], bool]
    """Whether a token is one entry."""
    end: str | None
    """The token at the end of a text."""
    writes_turns: bool
    """It brings a chat template."""


def adds_tokens(config: Config) -> bool:
    """Whether LLaMA-Factory may add entries, and the rows that belong to them."""
    return any(config.llamafactory.settings.get(key) for key in _NEW_TOKENS)


def end_of_text(base: Path, config: Config, method: str, environment: Environment) -> str | None:
    """The token that the template makes the end of a text; None keeps the tokenizer's own.

    Raises BadConfiguration where the tokenizer cannot serve the template: the framework would add tokens that the model
    has no rows for, or write another template without a word.
    """
    tokenizer, name = read_tokenizer(base, config.base.trust_remote_code), config.sft.template
    if method == "sft" and name == "chat" and not tokenizer.writes_turns:
        raise BadConfiguration("sft.template=chat: the base's tokenizer has no template of its own; name one")
    template = environment.template(name) if method == "sft" and name != "chat" else None
    lacking = [token for token in template.tokens if not tokenizer.has(token)] if template else []
    if lacking and not adds_tokens(config):
        raise BadConfiguration(
            f"sft.template={name}: the base's tokenizer has no {', '.join(lacking)}; +llamafactory.settings."
            "resize_vocab=true adds what is missing, with rows that are still to be learnt"
        )
    end = template.end if template else None
    if end is None and tokenizer.end is None and not adds_tokens(config):
        raise BadConfiguration(
            f"{base}: its tokenizer has no end of a text, which LLaMA-Factory writes after each; "
            "+llamafactory.settings.resize_vocab=true adds one"
        )
    return None if end == tokenizer.end else end


def read_tokenizer(base: Path, trust_remote_code: bool) -> Tokenizer:
    """The tokenizer of a model folder: from its files where they say it all, else by Transformers."""
    settings = _read(base / "tokenizer_config.json")
    end = _text(settings.get("eos_token")) or _text(_read(base / "special_tokens_map.json").get("eos_token"))
    if end is not None and (base / "tokenizer.json").is_file():
        import tokenizers

        fast = tokenizers.Tokenizer.from_file(str(base / "tokenizer.json"))
        writes_turns = bool(settings.get("chat_template")) or (base / "chat_template.jinja").is_file()
        return Tokenizer(lambda token: fast.token_to_id(token) is not None, end, writes_turns)
    import transformers

    loaded = transformers.AutoTokenizer.from_pretrained(
        base, local_files_only=True, trust_remote_code=trust_remote_code
    )
    vocabulary = loaded.get_vocab()
    return Tokenizer(lambda token: token in vocabulary, loaded.eos_token, loaded.chat_template is not None)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _text(token: Any) -> str | None:
    """A token as it stands in the files: a string, or with how it is matched beside."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
