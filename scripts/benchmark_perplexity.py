"""Benchmark of perplexity: this project against lm-eval's rolling log-likelihood at several batch sizes.

    .venv/bin/python scripts/benchmark_perplexity.py                              # models of about 10M and 124M
    .venv/bin/python scripts/benchmark_perplexity.py --sizes 10M --dtype bfloat16 --rounds 5
    .venv/bin/python scripts/benchmark_perplexity.py --texts wikitext.jsonl       # documents of your own

Both measure the same documents with the same weights (random), dtype and windows, each contender in a process of its
own, one after the other in several rounds. A round's ratio is ours against the best of lm-eval's batch sizes in that
round; documents must agree to 1e-4 in float32. Start-up (imports, loading the model) is not counted for either;
tokenising is. lm-eval has to be installed: pip install 'lm-eval[hf]>=0.4.13,<0.5'.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_scoring import REPOSITORY, SIZES, matrix_rate, prepare, read_texts

sys.path.insert(0, str(REPOSITORY))  # `eval` is no installed package
BATCH_SIZES = (1, 2, 4, 8)
_TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}


def ours(case: dict[str, Any]) -> dict[str, Any]:
    """The pass behind `stage=eval`: text in, minus log P of each document out."""
    from eval.perplexity import PerplexityPass
    from toedit.config import EvalConfig, ScorerConfig
    from toedit.console import Progress

    texts = read_texts(case)
    pass_ = PerplexityPass(Path(case["model"]), EvalConfig(dtype=case["dtype"]), ScorerConfig(**case["scorer"]))
    started = time.perf_counter()
    prepared = pass_.prepare([str(number) for number in range(len(texts))], texts)
    with Progress("ours", None) as progress:
        measured = pass_.measure(prepared, texts, pass_.scorers[0], progress, 1.0)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "tokens": int(measured.tokens_D.sum()), "nll": measured.nll_D.tolist()}


def lm_eval(case: dict[str, Any]) -> dict[str, Any]:
    """HFLM.loglikelihood_rolling with batches of `case["batch_size"]` windows."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    texts = read_texts(case)
    model = HFLM(pretrained=case["model"], dtype=case["dtype"], device="cpu", batch_size=case["batch_size"])
    requests = [Instance("loglikelihood_rolling", {}, (text,), number) for number, text in enumerate(texts)]
    started = time.perf_counter()
    found = model.loglikelihood_rolling(requests, disable_tqdm=True)
    return {"seconds": time.perf_counter() - started, "nll": (-np.array(found)).tolist()}


def run_contender(contender: str, case: dict[str, Any]) -> dict[str, Any]:
    result = Path(case["work"]) / "contender.json"
    command = [sys.executable, __file__, "contender", contender, json.dumps(case), str(result)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{contender} failed:\n{run.stderr[-2000:]}")
    return dict(json.loads(result.read_text()))


def compare(name: str, arguments: argparse.Namespace) -> None:
    case = prepare(Path(arguments.work), name, None, arguments.tokens, arguments.dtype)
    case["scorer"] = {key: int(value) for key, value in (pair.split("=") for pair in arguments.scorer)}
    if arguments.texts:
        case["texts"] = str(Path(arguments.texts).resolve())
    print(f"{name}: {case['parameters'] / 1e6:.1f}M parameters, {arguments.dtype}", flush=True)
    ratios = []
    for number in range(arguments.rounds):
        own = run_contender("ours", case)
        theirs = {size: run_contender("lm_eval", {**case, "batch_size": size}) for size in arguments.batch_sizes}
        rate = own["tokens"] / own["seconds"]
        rates = {size: own["tokens"] / result["seconds"] for size, result in theirs.items()}
        best = max(rates, key=lambda size: rates[size])
        ratios.append(rate / rates[best])
        listed = ", ".join(f"{size}: {value:,.0f}" for size, value in rates.items())
        share = 2 * case["parameters"] * rate / own["matrix_rate"]
        print(
            f"  round {number + 1}, tokens/s: ours {rate:,.0f} ({share:.0%} of {own['matrix_rate'] / 1e9:.0f} GFLOP/s)"
            f", lm-eval by batch {listed}; ours / best {ratios[-1]:.2f}",
            flush=True,
        )
        for result in theirs.values():
            difference = np.abs(np.array(own["nll"]) / np.array(result["nll"]) - 1).max()
            if difference > _TOLERANCE[arguments.dtype]:
                sys.exit(f"documents differ by {difference:.2g}, relatively: the two do not measure the same")
    values = sorted(ratios)
    print(f"  ours / lm-eval's best: {values[len(values) // 2]:.2f} ({values[0]:.2f} to {values[-1]:.2f})", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["contender"]:
        contender, case, result = sys.argv[2:5]
        values = {"ours": ours, "lm_eval": lm_eval}[contender](json.loads(case))
        if contender == "ours":
            values["matrix_rate"] = matrix_rate(json.loads(case)["dtype"])
        Path(result).write_text(json.dumps(values))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["10M", "124M"], choices=list(SIZES))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=list(BATCH_SIZES))
    parser.add_argument("--dtype", default="float32", choices=list(_TOLERANCE))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, help="tokens of text; by default enough for some seconds")
    parser.add_argument("--texts", help="JSON lines with a field `text`, instead of the embedded documentation")
    parser.add_argument("--scorer", nargs="*", default=[], metavar="KEY=N", help="whole-number keys of `scorer`")
    parser.add_argument("--work", default="outputs/benchmark_perplexity")
    arguments = parser.parse_args()
    for name in arguments.sizes:
        compare(name, arguments)


if __name__ == "__main__":
    main()
