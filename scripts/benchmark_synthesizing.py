"""Benchmark of sampling: the engines of `stage=synthesize` on one model.

    .venv/bin/python scripts/benchmark_synthesizing.py my-model
    .venv/bin/python scripts/benchmark_synthesizing.py my-model --batch_size 128 --dtype bfloat16 --rounds 5

Both engines are loaded, and take turns for several rounds: as many documents, from the token that begins a text to its
end or the limit. Drawn tokens count. Start-up is printed, and counted for none. Needs .venv-vllm
(scripts/environment_vllm.sh).
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from toedit.config import SynthesisConfig
from toedit.prior_pass import context_id
from toedit.sampling import Sampler, load_sampler
from toedit.tokenizing import load_tokenizer

ENGINES = ("vllm", "transformers")


def start(engine: str, arguments: argparse.Namespace) -> Sampler:
    settings = SynthesisConfig(
        engine=engine,
        max_new_tokens=arguments.max_new_tokens,
        top_p=arguments.top_p,
        dtype=arguments.dtype,
        batch_size=arguments.batch_size,
        shard_documents=arguments.documents,
    )
    tokenizer = load_tokenizer(arguments.model)
    ends = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    started = time.perf_counter()
    sampler = load_sampler(arguments.model, settings, ends, tokenizer.vocabulary_size, 1 + arguments.max_new_tokens)
    print(f"{engine}: started in {time.perf_counter() - started:.1f} s", flush=True)
    return sampler


def rate(sampler: Sampler, beginning: list[int], number: int, arguments: argparse.Namespace) -> tuple[float, int]:
    """Drawn tokens a second, and how many."""
    ids = [f"{number}/{document}" for document in range(arguments.documents)]
    started, drawn = time.perf_counter(), 0
    for first in range(0, len(ids), sampler.most_documents):
        batch = ids[first : first + sampler.most_documents]
        drawn += sum(map(len, sampler.sample([beginning] * len(batch), batch)))
    return drawn / (time.perf_counter() - started), drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a Hugging Face folder")
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--max_new_tokens", type=int, default=200)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--top_p", type=float, default=1.0)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    samplers = {engine: start(engine, arguments) for engine in ENGINES}
    beginning = context_id(load_tokenizer(arguments.model), "auto", arguments.model)
    if beginning is None:
        raise SystemExit(f"{arguments.model}: the tokenizer has no token that begins a text")
    ratios = []
    for number in range(arguments.rounds):
        rates = {}
        for engine, sampler in samplers.items():
            rates[engine], drawn = rate(sampler, [beginning], number, arguments)
            print(f"  round {number + 1}, {engine}: {rates[engine]:,.0f} tokens/s ({drawn:,} drawn)", flush=True)
        ratios.append(rates["vllm"] / rates["transformers"])
    print(f"vllm / transformers: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
