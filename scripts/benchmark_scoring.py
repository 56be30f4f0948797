"""Benchmark of the prior's pass: this project, a plain Transformers loop, vLLM with flat log-probabilities, and a
stand-in for the released script (vLLM's dictionaries, a Python loop, one np.random.choice a selected token).

    .venv/bin/python scripts/benchmark_scoring.py speed                 # priors of about 1M, 10M and 124M parameters
    .venv/bin/python scripts/benchmark_scoring.py speed --sizes 10M --dtype float32
    .venv/bin/python scripts/benchmark_scoring.py memory                # peak above the weights at 8k to 128k entries

All contenders score the same documents with the same weights, each in a process of its own, one after the other in
several rounds; a line says how many times as fast this project was in the same round. Start-up is not counted for any.
Weights are random, so thresholds are quantiles of the prior's own probabilities: a fifth of the tokens keeps its
candidates, one in fifty is drawn again, as on web text at P >= 0.99. Needs .venv-vllm (scripts/environment_vllm.sh).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
VLLM_PYTHON = REPOSITORY / os.environ.get("TOEDIT_VLLM_VENV", ".venv-vllm") / "bin" / "python"
TOP_K = 8
SIZES = {  # name: (kind, hidden, intermediate, layers, heads, vocabulary, context, tokens of text)
    "1M": ("llama", 96, 256, 2, 3, 8192, 2048, 400_000),
    "10M": ("llama", 320, 864, 6, 5, 8192, 2048, 150_000),
    "124M": ("gpt2", 768, 3072, 12, 12, 50257, 1024, 40_000),
}
CONTENDERS = ("ours", "plain", "vllm_flat", "released")


# --- the contenders, each in a process of its own ---------------------------------------------------------------------


def ours(case: dict[str, Any]) -> dict[str, float]:
    """Scores artifact and edited corpus, as run.py makes them; text in, files out."""
    import shutil

    import toedit.scoring
    from toedit.artifacts import load_artifact
    from toedit.config import EditConfig, ScoreConfig, ScorerConfig
    from toedit.edit_corpus import plan_edit
    from toedit.prior_pass import PriorPass

    start_up = []

    class Timed(PriorPass):
        def __init__(self, *arguments: Any) -> None:
            started = time.perf_counter()
            super().__init__(*arguments)
            start_up.append(time.perf_counter() - started)
            self.started = time.monotonic()
            reset_peak()

    toedit.scoring.PriorPass = Timed
    root = Path(case["work"]) / "artifacts"
    shutil.rmtree(root, ignore_errors=True)
    corpus = load_artifact(Path(case["corpus"]), ("corpus",), "corpus", "")
    prior = prior_artifact(Path(case["model"]), root)
    score = ScoreConfig(top_k=64, min_p=case["min_p"], dtype=case["dtype"], window=case["context"])
    scores = toedit.scoring.plan_scores(corpus, prior, score, ScorerConfig(**case.get("scorer", {})), root)
    started = time.perf_counter()
    scores.ensure()
    scored = time.perf_counter() - started - start_up[0]
    started = time.perf_counter()
    plan_edit(scores, EditConfig(p=case["p"], k=TOP_K, temperature=1.5), root).ensure()
    return {
        "tokens": scores.manifest()["counts"]["tokens"],
        "score": scored,
        "edit": time.perf_counter() - started,
        **peak(),
    }


def plain(case: dict[str, Any]) -> dict[str, float]:
    """Full logits, log_softmax, topk, in batches of the best size."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(case["model"], dtype=getattr(torch, case["dtype"])).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(case["model"])
    texts = read_texts(case)
    best = None
    for size in case.get("batch_sizes", (1, 8)):
        reset_peak()
        started, tokens, kept = time.perf_counter(), 0, []
        with torch.inference_mode():
            for first in range(0, len(texts), size):
                ids = [
                    [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]][: case["context"]]
                    for text in texts[first : first + size]
                ]
                token_BL = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
                for row, own in enumerate(ids):
                    token_BL[row, : len(own)] = torch.tensor(own)
                logprob_BLV = torch.log_softmax(model(input_ids=token_BL, use_cache=False).logits.float(), -1)
                own_BL = logprob_BLV[:, :-1].gather(-1, token_BL[:, 1:, None])[..., 0]
                values, indices = logprob_BLV[:, :-1].topk(TOP_K, dim=-1)
                kept.append((own_BL.numpy(), values.numpy(), indices.numpy()))
                tokens += sum(map(len, ids)) - len(ids)
        seconds = time.perf_counter() - started
        if best is None or tokens / seconds > best["tokens"] / best["score"]:
            best = {"tokens": tokens, "score": seconds, "batch": size, **peak()}
    assert best is not None
    return best


def vllm_engine(case: dict[str, Any], flat: bool) -> tuple[Any, Any]:
    for key, value in {
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }.items():
        os.environ.setdefault(key, value)
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=case["model"],
        dtype=case["dtype"],
        max_model_len=case["context"],
        max_num_batched_tokens=max(case["context"], 2048),
        max_logprobs=TOP_K,
        enforce_eager=True,
        enable_prefix_caching=False,
        disable_log_stats=True,
        skip_tokenizer_init=flat,
    )
    further = {"detokenize": False, "flat_logprobs": True} if flat else {}
    return engine, SamplingParams(prompt_logprobs=TOP_K, max_tokens=1, **further)


def vllm_flat(case: dict[str, Any]) -> dict[str, float]:
    """vLLM at its best: token ids in, flat log-probabilities out, nothing decoded."""
    import transformers

    engine, sampling = vllm_engine(case, flat=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(case["model"])
    texts = read_texts(case)
    reset_peak()
    started, tokens = time.perf_counter(), 0
    prompts = [
        {"prompt_token_ids": [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]][: case["context"] - 1]}
        for text in texts
    ]
    for output in engine.generate(prompts, sampling, use_tqdm=False):
        flat = output.prompt_logprobs
        np.array(flat.logprobs, np.float32), np.array(flat.token_ids, np.int32)
        tokens += len(output.prompt_token_ids) - 1
    return {"tokens": tokens, "score": time.perf_counter() - started, **peak()}


def released(case: dict[str, Any]) -> dict[str, float]:
    """What the released script does a document: dictionaries, a loop, a choice, a decoded text."""
    import transformers

    engine, sampling = vllm_engine(case, flat=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(case["model"])
    texts = read_texts(case)
    reset_peak()
    generator = np.random.default_rng(0)
    started, tokens = time.perf_counter(), 0
    with gzip.open(Path(case["work"]) / "released.jsonl.gz", "wt") as out:
        for first in range(0, len(texts), 1000):  # the script's batch
            prompts = [
                {"prompt_token_ids": [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]][: case["context"] - 1]}
                for text in texts[first : first + 1000]
            ]
            for output in engine.generate(prompts, sampling, use_tqdm=False):
                ids = list(output.prompt_token_ids)
                for place, entry in enumerate(output.prompt_logprobs):
                    if entry is None or not np.exp(entry[ids[place]].logprob) > case["p"]:
                        continue
                    candidates = list(entry)
                    weights = np.exp(np.array([entry[token].logprob for token in candidates]) / 1.5)
                    ids[place] = int(generator.choice(candidates, p=weights / weights.sum()))
                text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True)
                out.write(json.dumps({"text": text}) + "\n")
                tokens += len(ids) - 1
    return {"tokens": tokens, "score": time.perf_counter() - started, **peak()}


# --- what they share --------------------------------------------------------------------------------------------------


def read_texts(case: dict[str, Any]) -> list[str]:
    return [json.loads(line)["text"] for line in Path(case["texts"]).read_text(encoding="utf-8").splitlines()]


def reset_peak() -> None:
    """From here on the peak of this process's memory counts, not that of loading the weights."""
    global _at_rest
    Path("/proc/self/clear_refs").write_text("5")
    _at_rest = _status("VmRSS")


def peak() -> dict[str, float]:
    return {"peak_megabytes": (_status("VmHWM") - _at_rest) / 1024}


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def prior_artifact(model: Path, root: Path) -> Any:
    from toedit.config import PriorConfig
    from toedit.priors import plan_prior

    return plan_prior(PriorConfig(kind="local", path=str(model)), root, 0)


def matrix_rate(dtype: str) -> float:
    """FLOP/s of a 2048-cube product in this process, the best of ten."""
    import torch

    a, b = (torch.randn(2048, 2048).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * 2048**3 / best


def prepare(work: Path, name: str, vocabulary: int | None, tokens: int | None, dtype: str) -> dict[str, Any]:
    """Weights, tokenizer, documents and thresholds of one case."""
    import torch
    import transformers

    from toedit.config import CorpusConfig, ScoreConfig, ScorerConfig
    from toedit.console import Progress
    from toedit.corpora import plan_corpus
    from toedit.documents import read_documents, shard_paths
    from toedit.prior_pass import PriorPass
    from toedit.tiny_prior import DOCUMENT_END, train_tokenizer

    kind, hidden, intermediate, layers, heads, entries, context, default_tokens = SIZES[name]
    entries, tokens = vocabulary or entries, tokens or default_tokens
    work = work / f"{name}-{entries}"
    work.mkdir(parents=True, exist_ok=True)
    source = plan_corpus(CorpusConfig(packages=["python", "numpy"]), work.parent / "source")
    source.ensure()
    folder = work / "model"
    if not (folder / "model.safetensors").exists():
        tokenizer = train_tokenizer(source.path, 8192)
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token=DOCUMENT_END, eos_token=DOCUMENT_END
        ).save_pretrained(folder)
        torch.manual_seed(0)
        if kind == "gpt2":
            config = transformers.GPT2Config(vocab_size=entries, n_positions=context, bos_token_id=0, eos_token_id=0)
        else:
            config = transformers.LlamaConfig(
                vocab_size=entries, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
                num_attention_heads=heads, max_position_embeddings=context, tie_word_embeddings=True,
                bos_token_id=0, eos_token_id=0,
            )  # fmt: skip
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)

    texts, budget = [], tokens
    measure = transformers.AutoTokenizer.from_pretrained(folder)
    for path in shard_paths(source.path):
        for document in read_documents(path):
            length = len(measure(document["text"])["input_ids"])
            if budget > 0 and length < context - 2:  # the released script would cut longer ones
                texts.append(document["text"])
                budget -= length
    file = work / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    corpus = plan_corpus(CorpusConfig(kind="local", path=str(file)), work / "corpus")
    corpus.ensure()

    prior = PriorPass(folder, ScoreConfig(min_p=1.0, dtype=dtype, window=context), ScorerConfig())
    with Progress("thresholds", None) as progress:
        logprob_T = prior.score_texts([str(n) for n in range(40)], texts[:40], progress, 1.0).logprob_T
    min_p, p = np.exp(np.quantile(logprob_T.astype(float), [0.8, 0.98])).tolist()
    return {
        "name": name, "work": str(work), "model": str(folder), "texts": str(file), "corpus": str(corpus.path),
        "context": context, "dtype": dtype, "min_p": min_p, "p": p,
        "parameters": sum(weight.numel() for weight in prior.scorers[0].model.parameters()),
    }  # fmt: skip


def run_contender(contender: str, case: dict[str, Any]) -> dict[str, float]:
    python = VLLM_PYTHON if contender in ("vllm_flat", "released") else Path(sys.executable)
    result = Path(case["work"]) / f"{contender}.json"
    command = [str(python), __file__, "contender", contender, json.dumps(case), str(result)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{contender} failed:\n{run.stderr[-2000:]}")
    return dict(json.loads(result.read_text()))


# --- the two benchmarks -----------------------------------------------------------------------------------------------


def speed(arguments: argparse.Namespace) -> None:
    for name in arguments.sizes:
        case = prepare(Path(arguments.work), name, None, arguments.tokens, arguments.dtype)
        case["scorer"] = dict(pair.split("=") for pair in arguments.scorer)
        case["scorer"] = {key: int(value) for key, value in case["scorer"].items()}
        print(f"{name}: {case['parameters'] / 1e6:.1f}M parameters, {arguments.dtype}", flush=True)
        ratios: dict[str, list[float]] = {}
        for number in range(arguments.rounds):
            results = {contender: run_contender(contender, case) for contender in arguments.contenders}
            rate = {c: r["tokens"] / (r["score"] + r.get("edit", 0)) for c, r in results.items()}
            scoring = results["ours"]["tokens"] / results["ours"]["score"]
            share = 2 * case["parameters"] * scoring / results["ours"]["matrix_rate"]
            line = [f"{c} {value:,.0f}" for c, value in rate.items()]
            print(
                f"  round {number + 1}, tokens/s: {', '.join(line)}; ours without edit {scoring:,.0f} = {share:.0%} "
                f"of {results['ours']['matrix_rate'] / 1e9:.0f} GFLOP/s",
                flush=True,
            )
            for contender in results.keys() - {"ours"}:
                fair = rate["ours"] if contender == "released" else scoring
                ratios.setdefault(contender, []).append(fair / rate[contender])
        for contender in arguments.contenders[1:]:
            values = sorted(ratios[contender])
            print(
                f"  ours / {contender}: {values[len(values) // 2]:.2f} ({values[0]:.2f} to {values[-1]:.2f})",
                flush=True,
            )


def memory(arguments: argparse.Namespace) -> None:
    for entries in arguments.entries:
        case = prepare(Path(arguments.work), "1M", entries, arguments.tokens or 60_000, arguments.dtype)
        case["batch_sizes"] = (8,)
        results = {contender: run_contender(contender, case) for contender in ("ours", "plain")}
        peaks = {contender: result["peak_megabytes"] for contender, result in results.items()}
        print(
            f"{entries} entries, peak above the weights: ours {peaks['ours']:.0f} MB, "
            f"plain loop {peaks['plain']:.0f} MB (batches of 8), ratio {peaks['plain'] / peaks['ours']:.1f}",
            flush=True,
        )


def main() -> None:
    if sys.argv[1:2] == ["contender"]:
        contender, case, result = sys.argv[2:5]
        values = globals()[contender](json.loads(case))
        if contender == "ours":
            values["matrix_rate"] = matrix_rate(json.loads(case)["dtype"])
        Path(result).write_text(json.dumps(values))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory"))
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--scorer", nargs="*", default=[], metavar="KEY=N", help="whole-number keys of `scorer`")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--entries", type=int, nargs="+", default=[8192, 50257, 131072], help="memory: vocabularies")
    parser.add_argument("--tokens", type=int, help="tokens of text; by default enough for some seconds")
    parser.add_argument("--work", default="outputs/benchmark_scoring")
    arguments = parser.parse_args()
    speed(arguments) if arguments.what == "speed" else memory(arguments)


if __name__ == "__main__":
    main()
