"""The torch scorer against a plain forward pass of the same window, architecture by architecture."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from toedit.config import ScoreConfig, ScorerConfig
from toedit.console import Progress
from toedit.errors import UnusableInput
from toedit.prior_pass import PriorPass
from toedit.scorers.torch import TorchScorer
from toedit.windows import ModelInput, windows

VOCABULARY = 97
ARCHITECTURES = {
    "gpt2": transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=64),
    "llama": transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    ),
    "olmo": transformers.OlmoConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    ),
    "qwen2": transformers.Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1,
    ),
    "gpt_neox": transformers.GPTNeoXConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    ),
    "gemma2 (capped logits)": transformers.Gemma2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, final_logit_softcapping=1.5,
    ),
    "granite (scaled logits)": transformers.GraniteConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        logits_scaling=4.0,
    ),
    "cohere (scaled logits)": transformers.CohereConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2
    ),
}  # fmt: skip


def save_random_model(config: transformers.PretrainedConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(6)  # fresh weights give flat predictions; these give some confident ones
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_gives_the_plain_forward_pass(name, tmp_path):
    folder = save_random_model(ARCHITECTURES[name], tmp_path / "model")
    score = ScoreConfig(top_k=5, min_p=0.01)
    scorer = TorchScorer(folder, score, ScorerConfig(head_rows=7, device="cpu"))
    generator = np.random.default_rng(0)
    batch = [
        ModelInput(generator.integers(0, VOCABULARY, length).astype(np.int32), first)
        for length, first in ((31, 1), (12, 5), (2, 1), (30, 29))
    ]
    scores = scorer.score(batch)

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    row = 0
    found = {int(r): n for n, r in enumerate(scores.confident_N)}
    for sequence in batch:
        with torch.inference_mode():
            logits = model(torch.from_numpy(sequence.token_ids_L.astype(np.int64))[None]).logits[0]
        reference = logits.log_softmax(-1)
        for place in range(sequence.first_scored, len(sequence.token_ids_L)):
            expected = reference[place - 1, int(sequence.token_ids_L[place])].item()
            assert scores.logprob_R[row] == pytest.approx(expected, abs=1e-4)
            if abs(np.exp(expected) - 0.01) > 1e-4:
                assert (row in found) == (expected >= np.log(0.01))
            if row in found:
                top = reference[place - 1].topk(5)
                np.testing.assert_allclose(scores.candidate_logprob_NK[found[row]], top.values, atol=1e-4)
                own = reference[place - 1][scores.candidate_id_NK[found[row]].astype(np.int64)]
                np.testing.assert_allclose(own, top.values, atol=1e-4)
            row += 1
    assert row == len(scores.logprob_R)
    assert 3 < len(found) < row


def test_documents_of_any_length_match_plain_windows(small_prior):
    """Shorter and longer than the window: each log-probability equals a plain forward pass of its window."""
    score = ScoreConfig(min_context=12, min_p=0.5, top_k=8)
    prior = PriorPass(small_prior, score, ScorerConfig(batch_tokens=200, head_rows=33, device="cpu"))
    text = "The cat sat quietly on the mat, as the story goes. Nobody sang an old song in the garden. "
    texts = [text * repeats for repeats in (1, 2, 5, 9)] + ["A", "Zoë 🙂"]
    with Progress("test", None) as progress:
        scores = prior.score_texts([str(number) for number in range(len(texts))], texts, progress, 1.0)
    assert not np.isnan(scores.logprob_T).any()  # the prior has a context token, so the first token is scored too

    model = AutoModelForCausalLM.from_pretrained(small_prior, dtype=torch.float32).eval()
    context = prior.context_id
    several = 0
    for d in range(len(texts)):
        tokens = slice(scores.token_offset_D1[d], scores.token_offset_D1[d + 1])
        token_ids = scores.token_id_T[tokens].astype(np.int64)
        laid = windows(len(token_ids), prior.capacity, prior.min_context, True)
        several += len(laid) > 1
        for window in laid:
            ids = torch.from_numpy(np.concatenate([[context], token_ids[window.start : window.stop]]))
            with torch.inference_mode():
                reference = model(ids[None]).logits[0].log_softmax(-1)
            for place in range(window.first_scored, window.stop):
                expected = reference[place - window.start, token_ids[place]].item()
                assert abs(scores.logprob_T[tokens][place] - expected) < 1e-4
    assert several >= 2


def test_scores_do_not_depend_on_batching(small_prior):
    texts = [f"The cat waited for the bus {'near the old mill ' * n}" for n in range(1, 9)]
    results = []
    for batch_tokens, head_rows in ((48, 5), (100_000, 4096)):
        prior = PriorPass(small_prior, ScoreConfig(), ScorerConfig(batch_tokens=batch_tokens, head_rows=head_rows))
        with Progress("test", None) as progress:
            results.append(prior.score_texts([str(n) for n in range(8)], texts, progress, 1.0))
    np.testing.assert_allclose(results[0].logprob_T, results[1].logprob_T, atol=1e-5)


def test_candidates_of_confident_tokens_hold_the_token_first(small_prior):
    prior = PriorPass(small_prior, ScoreConfig(min_p=0.9), ScorerConfig())
    with Progress("test", None) as progress:
        scores = prior.score_texts(["x"], ["The cat sat quietly on the mat, as the story goes. " * 20], progress, 1.0)
    assert len(scores.candidate_position_N) > 20
    assert (scores.candidate_id_NK[:, 0] == scores.token_id_T[scores.token_N]).all()
    assert (np.diff(scores.candidate_logprob_NK, axis=1) <= 0).all()
    np.testing.assert_array_equal(scores.candidate_logprob_NK[:, 0], scores.logprob_T[scores.token_N])
    expected = np.flatnonzero(scores.logprob_T.astype(float) >= np.log(0.9))
    np.testing.assert_array_equal(scores.token_N, expected)


def test_bfloat16_operands_still_give_float32_log_probabilities(small_prior):
    text = ["The cat sat quietly on the mat, as the story goes. " * 3]
    results = {}
    for dtype in ("float32", "bfloat16"):
        prior = PriorPass(small_prior, ScoreConfig(dtype=dtype), ScorerConfig())
        with Progress("test", None) as progress:
            results[dtype] = prior.score_texts(["x"], text, progress, 1.0).logprob_T
    assert np.abs(np.exp(results["bfloat16"]) - np.exp(results["float32"])).mean() < 0.02
    rounded = torch.from_numpy(results["bfloat16"]).bfloat16().float().numpy()
    assert (rounded != results["bfloat16"]).mean() > 0.5


def test_unusable_models_are_one_line(small_prior, tmp_path):
    import shutil

    def copy(name: str) -> Path:
        return Path(shutil.copytree(small_prior, tmp_path / name))

    narrow = copy("narrow")
    config = json.loads((narrow / "config.json").read_text())
    config["vocab_size"] = 300
    (narrow / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnusableInput, match="the embedding only 300"):
        PriorPass(narrow, ScoreConfig(), ScorerConfig())

    cut = copy("cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UnusableInput, match="cut") as error:
        PriorPass(cut, ScoreConfig(), ScorerConfig())
    assert "\n" not in str(error.value)

    with pytest.raises(UnusableInput, match="no CUDA device"):
        PriorPass(small_prior, ScoreConfig(), ScorerConfig(device="cuda"))
