"""The torch scorer against a plain forward pass of the same window, architecture by architecture."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from conftest import run_command
from transformers import AutoModelForCausalLM

from toedit.config import ScoreConfig, ScorerConfig
from toedit.console import Progress
from toedit.errors import BadConfiguration, UnusableInput
from toedit.prior_pass import PriorPass
from toedit.scorers import compiled_kernels
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


# --- what is exchanged for speed is equal -------------------------------------------------


@pytest.mark.parametrize("heads, key_heads", [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("length", [1, 127, 128, 129, 300])
def test_attention_in_blocks_is_causal_attention(heads, key_heads, length):
    from toedit.scorers.attention import blocked_attention

    generator = torch.Generator().manual_seed(length)
    query = torch.randn(2, heads, length, 16, generator=generator)
    key, value = (torch.randn(2, key_heads, length, 16, generator=generator) for _ in range(2))
    module = torch.nn.Module()
    module.num_key_value_groups = heads // key_heads
    ours, _ = blocked_attention(module, query, key, value, None, scaling=0.3)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=0.3, enable_gqa=True
    )
    torch.testing.assert_close(ours, theirs.transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_attention_with_a_mask_is_left_to_torch():
    from toedit.scorers.attention import blocked_attention

    query = torch.randn(1, 2, 6, 8)
    mask = torch.zeros(1, 1, 6, 6).masked_fill_(torch.ones(6, 6, dtype=torch.bool).triu_(1), float("-inf"))
    mask[..., 4, 0] = float("-inf")
    module = torch.nn.Module()
    module.is_causal = True
    ours, _ = blocked_attention(module, query, query, query, mask)
    theirs = torch.nn.functional.scaled_dot_product_attention(query, query, query, attn_mask=mask)
    torch.testing.assert_close(ours, theirs.transpose(1, 2))


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "gpt_neox", "gemma2 (capped logits)"])
def test_long_windows_in_bfloat16_stay_near_the_model_s_own_float32(name, tmp_path):
    """Several blocks of attention; bfloat16 operands, so near and not equal."""
    config = ARCHITECTURES[name]
    config = type(config).from_dict({**config.to_dict(), "max_position_embeddings": 512, "n_positions": 512})
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    scorer = TorchScorer(tmp_path, ScoreConfig(dtype="bfloat16", min_p=1, top_k=4), ScorerConfig(device="cpu"))
    token_ids = np.random.default_rng(0).integers(0, VOCABULARY, 300).astype(np.int32)
    ours = scorer.score([ModelInput(token_ids, 1), ModelInput(token_ids[:200], 1)])
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = torch.from_numpy(token_ids.astype(np.int64))
    with torch.inference_mode():
        reference = model(ids[None]).logits[0].log_softmax(-1)
    expected = reference[torch.arange(299), ids[1:]].numpy()
    np.testing.assert_allclose(ours.logprob_R[:299], expected, atol=0.1)
    np.testing.assert_allclose(ours.logprob_R[299:], expected[:199], atol=0.1)


def test_float32_products_stay_in_float32():
    from toedit.scorers.precision import fast_float32

    a, b = torch.randn(300, 200), torch.randn(200, 400)
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    with fast_float32():
        product = a @ b
    assert settings.fp32_precision == before
    assert (product - a.double() @ b.double()).abs().max() < 1e-3


@pytest.fixture
def kernels():
    """The compiled kernels; where this machine can have them, it must."""
    found = compiled_kernels.compiled_kernels()
    usable = torch.cpu._is_avx512_bf16_supported() and any(map(shutil.which, ("cc", "gcc", "clang")))
    assert (found is not None) == usable
    if found is None:
        pytest.skip("this processor has no AVX-512 BF16, or there is no C compiler")
    return found


@pytest.mark.parametrize("rows, hidden, entries", [(1, 2, 1), (5, 64, 63), (6, 96, 64), (13, 70, 131), (100, 32, 9000)])
def test_compiled_kernels_are_product_log_sum_exp_and_top_k(kernels, rows, hidden, entries):
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(entries, hidden, generator=generator).bfloat16()
    states = 3 * torch.randn(rows, hidden, generator=generator).bfloat16()
    exact = states.double() @ weight.double().T
    logits = kernels.product(states, kernels.pack(weight), torch.full((rows, entries), 7.0))
    torch.testing.assert_close(logits.double(), exact, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(kernels.log_sum_exp(logits).double(), exact.logsumexp(-1), atol=1e-4, rtol=1e-6)
    chosen = torch.arange(0, rows, 3)
    for k in {1, min(8, entries), min(64, entries)}:
        values, ids = kernels.top(logits, chosen, k)
        assert torch.equal(values, logits[chosen].topk(k).values)
        assert torch.equal(logits[chosen].gather(1, ids.long()), values)
        assert all(len(set(row)) == k for row in ids.tolist())
    assert kernels.pack(weight.float()) is None
    assert kernels.pack(torch.zeros(4, 3, dtype=torch.bfloat16)) is None  # it reads hidden units in pairs


def test_compiled_gelu_is_the_tanh_form(kernels):
    x = torch.cat([torch.linspace(-12, 12, 5004), torch.tensor([0.0, -0.0, 1e30, -1e30, float("nan")])]).bfloat16()
    ours = kernels.gelu(x[:-1].view(2, -1))
    theirs = torch.nn.functional.gelu(x[:-1].float(), approximate="tanh").view(2, -1)
    torch.testing.assert_close(ours.float(), theirs, rtol=2**-7, atol=1e-6)
    assert kernels.gelu(x)[-1].isnan()


def test_compiled_log_sum_exp_of_odd_rows(kernels):
    inf, nan = float("inf"), float("nan")
    logits = torch.tensor([[1e4, 1e4, -1e4], [-inf, 2.0, -inf], [0.0, nan, 1.0], [nan, nan, nan], [0.0, inf, 0.0]])
    result = kernels.log_sum_exp(logits)
    torch.testing.assert_close(result[:2], logits[:2].logsumexp(-1))
    assert not result[2:].isfinite().any()  # which stops the stage
    equal = kernels.top(torch.zeros(1, 40), torch.tensor([0]), 5)[1]
    assert equal.tolist() == [[0, 1, 2, 3, 4]]  # of equals the first, whatever the machine


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_a_compiler_the_numbers_are_the_same(small_prior, monkeypatch, dtype):
    text = ["The cat sat quietly on the mat, as the story goes. " * 3]
    score = ScoreConfig(dtype=dtype, min_p=0.5)
    with_them = scores_of(PriorPass(small_prior, score, ScorerConfig()), text)
    switched_off = PriorPass(small_prior, score, ScorerConfig(compiled_kernels=False))
    monkeypatch.setattr(compiled_kernels.shutil, "which", lambda name: None)
    compiled_kernels.compiled_kernels.cache_clear()
    try:
        without = PriorPass(small_prior, score, ScorerConfig())
    finally:
        monkeypatch.undo()
        compiled_kernels.compiled_kernels.cache_clear()
    for prior in (switched_off, without):
        assert prior.scorers[0].versions["head"] == "torch"
        scores = scores_of(prior, text)
        np.testing.assert_allclose(scores.logprob_T, with_them.logprob_T, atol=1e-4)
        np.testing.assert_array_equal(scores.candidate_position_N, with_them.candidate_position_N)
        np.testing.assert_allclose(scores.candidate_logprob_NK, with_them.candidate_logprob_NK, atol=1e-4)


def test_large_logits_keep_their_log_probabilities():
    """exp of a logit of 1000 overflows float32; the log-sum-exp must not."""
    from toedit.scorers.head import LanguageModelHead

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(ARCHITECTURES["llama"])
    head = LanguageModelHead(model, rows=7)
    hidden = torch.randn(50, 32) * 400
    target = torch.randint(0, VOCABULARY, (50,))
    with torch.inference_mode():
        scores = head.score(hidden, target, threshold=float("-inf"), top_k=VOCABULARY)
        reference = model.get_output_embeddings()(hidden).double().log_softmax(-1)
    assert reference.min() < -100
    np.testing.assert_allclose(scores.logprob_R, reference.gather(-1, target[:, None])[:, 0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(scores.candidate_logprob_NK, reference.sort(descending=True)[0], rtol=1e-5, atol=1e-4)


# --- memory, numbers that are none, contexts, processes -----------------------------------


def scores_of(prior: PriorPass, texts: list[str]):
    with Progress("test", None) as progress:
        return prior.score_texts([f"document {number}" for number in range(len(texts))], texts, progress, 1.0)


def test_a_batch_that_does_not_fit_is_halved_and_so_are_those_after_it(small_prior, monkeypatch, capsys):
    texts = [f"The cat waited for the bus {'near the old mill ' * n}" for n in (8, 8, 8, 7, 7, 7, 2, 1)]
    settings = ScoreConfig(min_p=0.5), ScorerConfig(batch_tokens=200)
    whole = scores_of(PriorPass(small_prior, *settings), texts)
    prior = PriorPass(small_prior, *settings)
    scorer = prior.scorers[0]
    hidden, refused = scorer._hidden, []

    def with_little_memory(token_BL):
        if token_BL.numel() > 60:
            refused.append(token_BL.numel())
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate a lot")
        return hidden(token_BL)

    monkeypatch.setattr(scorer, "_hidden", with_little_memory)
    halved = scores_of(prior, texts)
    np.testing.assert_allclose(halved.logprob_T, whole.logprob_T, atol=1e-5)
    np.testing.assert_array_equal(halved.candidate_id_NK[:, 0], whole.candidate_id_NK[:, 0])
    assert refused and max(refused[1:], default=0) < refused[0]  # nothing as large is tried again
    said = capsys.readouterr().err
    assert said.count("out of memory for a batch of") == len(refused) and "scorer.batch_tokens" in said

    monkeypatch.setattr(scorer, "_hidden", lambda ids: with_little_memory(ids.expand(100, -1)))
    with pytest.raises(UnusableInput, match=r"single window of \d+ tokens; lower score.window"):
        scores_of(prior, texts)


def test_logits_that_are_no_numbers_name_document_and_token(small_prior, monkeypatch, tmp_path):
    """One token's embedding is NaN: no token of the one document that has it can be scored."""
    model = AutoModelForCausalLM.from_pretrained(small_prior)
    tokenizer = transformers.AutoTokenizer.from_pretrained(small_prior)
    texts = ["The cat sat quietly on the mat.", "Nobody sang an old song in the garden."]
    only_there = set(tokenizer(texts[1])["input_ids"]) - set(tokenizer(texts[0])["input_ids"])
    model.config.tie_word_embeddings = False
    head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size, bias=False)
    head.weight = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone())
    model.set_output_embeddings(head)
    with torch.no_grad():
        model.get_input_embeddings().weight[only_there.pop(), 0] = float("nan")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    prior = PriorPass(tmp_path, ScoreConfig(), ScorerConfig())
    with pytest.raises(UnusableInput, match=r"'document 1', token \d+: .*log-probability of nan"):
        scores_of(prior, texts)

    prior = PriorPass(small_prior, ScoreConfig(), ScorerConfig(batch_tokens=1))
    plain, place = prior.scorers[0].score, 3

    def with_one_infinity(batch):
        scores = plain(batch)
        scores.logprob_R[place] = -np.inf
        return scores

    monkeypatch.setattr(prior.scorers[0], "score", with_one_infinity)
    longer = 0 if len(texts[0]) > len(texts[1]) else 1
    with pytest.raises(UnusableInput, match=rf"'document {longer}', token {place}: .*log-probability of -inf"):
        scores_of(prior, texts)


def test_a_prior_of_short_context_is_windowed_or_refused(small_prior):
    context = json.loads((small_prior / "config.json").read_text())["max_position_embeddings"]
    text = ["The cat sat quietly on the mat, as the story goes. " * 40]
    windowed = PriorPass(small_prior, ScoreConfig(window=context + 1), ScorerConfig())
    assert windowed.window == context
    assert not np.isnan(scores_of(windowed, text).logprob_T).any()
    with pytest.raises(BadConfiguration, match=rf"score.window={context + 1}: .* takes {context} tokens"):
        PriorPass(small_prior, ScoreConfig(window=context + 1, on_short_context="refuse"), ScorerConfig())
    PriorPass(small_prior, ScoreConfig(window=context, on_short_context="refuse"), ScorerConfig())


def test_truncation_scores_the_beginning_and_counts_the_rest(small_prior, corpus_file, tmp_path):
    run = [
        "stage=score", "corpus=local", f"corpus.path={corpus_file}", "prior=local", f"prior.path={small_prior}",
    ]  # fmt: skip
    run_command(*run, "out=whole", cwd=tmp_path)
    run_command(*run, "out=cut", "score.truncate=true", "score.max_length=12", cwd=tmp_path)
    whole, cut = (
        {row["id"]: row for path in sorted((tmp_path / name / "scores").glob("*.parquet"))
         for row in pq.read_table(path).to_pylist()}
        for name in ("whole", "cut")
    )  # fmt: skip
    cut_tokens = 0
    for id, row in cut.items():
        kept = min(len(row["token_ids"]), 11)  # the context token is one of the twelve
        assert row["token_ids"] == whole[id]["token_ids"]
        np.testing.assert_allclose(row["logprobs"][:kept], whole[id]["logprobs"][:kept], atol=1e-5)
        assert all(logprob is None for logprob in row["logprobs"][kept:])
        cut_tokens += len(row["token_ids"]) - kept
    counts = json.loads((tmp_path / "cut" / "manifest.json").read_text())["counts"]
    assert counts["cut_tokens"] == cut_tokens > 0
    assert counts["cut_documents"] == sum(len(row["token_ids"]) > 11 for row in cut.values())
    assert counts["scored"] == counts["tokens"] - cut_tokens
    refused = run_command(*run, "score.max_length=12", cwd=tmp_path, expect=2)
    assert "score.truncate=false score.max_length=12" in refused.stderr


def test_several_processes_give_the_same_scores(small_prior, corpus_file, tmp_path):
    run = [
        "stage=score", "corpus=local", f"corpus.path={corpus_file}", "corpus.shard_bytes=1500",
        "prior=local", f"prior.path={small_prior}", "scorer.threads=1",
    ]  # fmt: skip
    run_command(*run, "out=one", cwd=tmp_path)
    run_command(*run, "scorer.processes=2", "out=two", cwd=tmp_path)
    one, two = (sorted((tmp_path / name / "scores").glob("*.parquet")) for name in ("one", "two"))
    assert len(one) > 2
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert manifest["runtime"]["engine"]["torch"] == torch.__version__
