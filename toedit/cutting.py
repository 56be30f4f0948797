"""Cutting a text at a token, so that what is left has a given number of tokens when it is tokenised again.

The cut is made in the text, at a character: where the token ends in the whole document. Tokenised again, the shorter
text may split otherwise (a lookahead that saw the next word, a token that held a piece of a character), so the count is
taken from the text that is left, and the cut moves character by character until it is right. Where one character alone
is several tokens, no cut may be right; the longest text below is then returned, and the caller makes up the difference.
"""

from __future__ import annotations

from tokenizers import Tokenizer


def count_tokens(tokenizer: Tokenizer, text: str) -> int:
    """The text's own tokens."""
    return len(tokenizer.encode(text, add_special_tokens=False))


def cut(tokenizer: Tokenizer, text: str, tokens: int) -> tuple[str, int]:
    """(a beginning of `text`, its tokens): as many as asked, or, where no cut gives that, as many as come next below.

    `text` has more tokens than that.
    """
    if tokens == 0:
        return "", 0
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    place = min(offsets[tokens - 1][1], len(text))
    count = count_tokens(tokenizer, text[:place])
    while count > tokens:
        place -= 1
        count = count_tokens(tokenizer, text[:place])
    while count < tokens and place < len(text):
        further = count_tokens(tokenizer, text[: place + 1])
        if further > tokens:
            break
        place, count = place + 1, further
    return text[:place], count
