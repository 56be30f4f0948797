"""Agreement with lm-eval's rolling log-likelihood, document by document, on a trained prior.

lm-eval is no dependency: without it these tests are skipped, and say so; in continuous integration they fail.
"""

import numpy as np
import pytest
from conftest import repetitive_documents
from hypothesis import given
from hypothesis import strategies as st
from tokenizers_fixture import real_texts

from eval.perplexity import PerplexityPass
from eval.statistics import rolling_statistic, values
from toedit.config import EvalConfig, ScorerConfig
from toedit.console import Progress
from toedit.windows import rolling_windows


def rolling(model, texts, batch_size, **settings) -> np.ndarray:
    """lm-eval's log-likelihood of each document."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness_model = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=batch_size, **settings)
    requests = [Instance("loglikelihood_rolling", {}, (text,), number) for number, text in enumerate(texts)]
    return np.array(harness_model.loglikelihood_rolling(requests, disable_tqdm=True))


def ours(model, texts, **settings):
    pass_ = PerplexityPass(model, EvalConfig(**settings), ScorerConfig(device="cpu"))
    prepared = pass_.prepare([str(number) for number in range(len(texts))], texts)
    with Progress("test", None) as progress:
        return pass_.measure(prepared, texts, pass_.scorers[0], progress, 1.0)


@pytest.mark.parametrize(("window", "batch_size"), [(None, 1), (None, 5), (31, 3)])
def test_every_document_agrees_to_four_digits(harness, small_prior, window, batch_size):
    texts = [document["text"] for document in repetitive_documents(12)]
    texts += ["A", "Zoë 🙂", " leading, trailing \n\n", "no\tplain\x00bytes\u2028" * 40]
    settings = {} if window is None else {"max_length": window}
    theirs = rolling(small_prior, texts, batch_size, **settings)
    measured = ours(small_prior, texts, window=window)
    assert (measured.tokens_D > (window or 48)).sum() >= 3  # several windows
    np.testing.assert_allclose(measured.nll_D, -theirs, rtol=1e-4)


def test_real_documents_agree_to_four_digits(harness, small_prior):
    texts = [text[:6000] for text in real_texts(24)]
    np.testing.assert_allclose(ours(small_prior, texts).nll_D, -rolling(small_prior, texts, 4), rtol=1e-4)


def test_the_metrics_are_lm_evals(harness, small_prior):
    from lm_eval.api.metrics import bits_per_byte, weighted_perplexity

    texts = [document["text"] for document in repetitive_documents(6)]
    measured = ours(small_prior, texts)
    found = values(rolling_statistic(measured), len(texts))
    by_word = list(zip(-measured.nll_D, measured.words_D, strict=True))
    by_byte = list(zip(-measured.nll_D, measured.bytes_D, strict=True))
    assert found["word_perplexity"] == pytest.approx(weighted_perplexity(by_word))
    assert found["byte_perplexity"] == pytest.approx(weighted_perplexity(by_byte))
    assert found["bits_per_byte"] == pytest.approx(bits_per_byte(by_byte))


@given(tokens=st.integers(0, 200), length=st.integers(2, 30), data=st.data())
def test_windows_are_lm_evals(harness, tokens, length, data):
    from lm_eval.utils import get_rolling_token_windows

    min_context = data.draw(st.integers(1, length))
    theirs = list(get_rolling_token_windows(list(range(tokens)), -1, length, min_context))
    laid = rolling_windows(tokens, length, min_context, has_prefix=True)
    assert len(laid) == len(theirs)
    for window, (read, predicted) in zip(laid, theirs, strict=True):
        own = list(range(window.start, window.stop))
        assert ([-1, *own] if window.prefixed else own)[:-1] == read
        assert list(range(window.first_scored, window.stop)) == predicted
