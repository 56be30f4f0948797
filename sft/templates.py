"""How a conversation is written for a model, and what of it is learnt: the assistant's words, and that they end there.

A template is a few strings (configs/sft/default.yaml), or the one that the tokenizer brings (`sft.template=chat`).
Pieces are tokenised one by one, as they are when the model answers: the prompt ends where the response begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from toedit.config import TemplateConfig
from toedit.conversation import ASSISTANT, SYSTEM, Turn
from toedit.errors import UnusableInput
from toedit.tokenizing import named_id, plain_tokenizer, read_definition

CHAT = "chat"
_CONTENT, _END = "{content}", "{end}"


class Example(NamedTuple):
    """Tokens of a conversation."""

    token_ids: list[int]
    learnt: list[bool]


class Template(Protocol):
    """Makes tokens of turns."""

    def encode(self, turns: Sequence[Turn]) -> Example: ...


class WrittenTemplate:
    """A template of strings. Text that spells a special token is ordinary text; `{end}` is the tokenizer's end."""

    def __init__(self, folder: Path, template: TemplateConfig) -> None:
        definition, settings = read_definition(folder)
        self.tokenizer, self.template = plain_tokenizer(definition), template
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=True)
        self.begin_id, self.end_id = (named_id(which, settings, vocabulary) for which in ("bos", "eos"))
        if self.end_id is None:
            raise UnusableInput(
                f"{folder}: its tokenizer names no end token (eos_token), and without one a model never learns to stop"
            )

    def encode(self, turns: Sequence[Turn]) -> Example:
        template = self.template
        example = Example([], [])
        if template.begin and self.begin_id is not None:
            self._add(example, [self.begin_id], False)
        if turns[0].role != SYSTEM:
            self._write(example, template.default_system, "", False)
        for role, content in turns:
            is_learnt = role == ASSISTANT
            text = {SYSTEM: template.system, ASSISTANT: template.assistant}.get(role, template.user)
            self._write(example, text, content, is_learnt)
        return example

    def _write(self, example: Example, text: str, content: str, is_learnt: bool) -> None:
        for number, part in enumerate(text.split(_END)):
            if number:
                assert self.end_id is not None
                self._add(example, [self.end_id], is_learnt)
            if part:
                written = part.replace(_CONTENT, content)
                self._add(example, self.tokenizer.encode(written, add_special_tokens=False).ids, is_learnt)

    @staticmethod
    def _add(example: Example, ids: list[int], is_learnt: bool) -> None:
        example.token_ids.extend(ids)
        example.learnt.extend([is_learnt] * len(ids))


class ChatTemplate:
    """The tokenizer's own chat template."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.folder = folder
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if not self.tokenizer.chat_template:
            raise UnusableInput(
                f"sft.template={CHAT}: the tokenizer in {folder} has no chat template; sft.template=alpaca"
            )

    def encode(self, turns: Sequence[Turn]) -> Example:
        example, written = Example([], []), ""
        for place, turn in enumerate(turns):
            if turn.role != ASSISTANT:
                continue
            prompt = self._render(turns[:place], answers=True)
            answered = self._render(turns[: place + 1], answers=False)
            if not prompt.startswith(written) or not answered.startswith(prompt):
                raise UnusableInput(
                    f"sft.template={CHAT}: the template in {self.folder} writes earlier turns anew when a later one "
                    "comes, so what is learnt cannot be told from the prompt; sft.template=alpaca"
                )
            for text, is_learnt in ((prompt[len(written) :], False), (answered[len(prompt) :], True)):
                ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
                example.token_ids.extend(ids)
                example.learnt.extend([is_learnt] * len(ids))
            written = answered
        return example

    def _render(self, turns: Sequence[Turn], answers: bool) -> str:
        said = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return str(self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=answers))
        except Exception as error:  # Jinja has a class for each thing that a template may not like
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise UnusableInput(
                f"sft.template={CHAT}: the template in {self.folder} refuses a row ({reason})"
            ) from None


def load_template(folder: Path, template: TemplateConfig | None) -> Template:
    """The template for the tokenizer in `folder`; None is the tokenizer's own. Raises UnusableInput."""
    return ChatTemplate(folder) if template is None else WrittenTemplate(folder, template)
