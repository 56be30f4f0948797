"""A coverage-guided fuzzer (Atheris, which is libFuzzer) on the row reader and on the splicer.

    python=$(bash scripts/environment_fuzz.sh)
    $python scripts/fuzz_coverage.py reader --seconds 300 --work fuzzed
    $python scripts/fuzz_coverage.py splicer --seconds 300 --work fuzzed --tokenizers tokenizers/
    $python scripts/fuzz_coverage.py reader --work fuzzed --distil tests/golden/fuzz/reader.txt

The last one counts the lines that the inputs found reach, and writes those few that reach what no seed reaches, in hex,
one a line. The properties stand in `fuzz_targets.py`. Keeps in --work the inputs that reached new code, `<target>/`,
from which a later run goes on, and one that broke a property, `<target>-crash-*`; then exits 1. --tokenizers names a
folder of Hugging Face tokenizers, beside the three made here.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from fuzz_priors import FAMILIES, TRAINED_ON, write_tokenizer

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = {
    "reader": (
        "corpora/files.py",
        "corpora/streams.py",
        "corpora/rows.py",
        "corpora/conversations.py",
        "instructions.py",
    ),
    "splicer": ("splicing.py", "tokenizing.py"),
}
WORDS = [
    *(
        b'"%s"' % key
        for key in b"text id metadata layout fields editable row output history tools from gpt role".split()
    ),
    *(
        b'"%s"' % key
        for key in b"conversations content system assistant toedit toedit_history toedit_instruction".split()
    ),
    *(
        b"\\ud800",
        b"\\u0000",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xe2\x96\x81",
        b"e\xcc\x81",
        b"\xf0\x9f\x99\x82",
        b"1e400",
    ),
    *(
        b"NaN",
        b"null",
        b"[[[[[[[[",
        b"]]]]]]]]",
        b'{"a":',
        b"\x1f\x8b\x08\x00",
        b"\x28\xb5\x2f\xfd",
        b"\x50\x2a\x4d\x18",
    ),
    *(b"##ing", b"<s>", b"</s>", b"[MASK]", b"<|endoftext|>", b"<0xE2>"),
]
"""What a fuzzer would take long to spell; it puts them into its inputs."""
SMALL = 300
"""Longer inputs are not kept in the repository."""
TEXTS = [*TRAINED_ON[:1], "e\u0301🙂\r\n ▁##ing <s> <0xE2>", " a\0b\ufeff ", "한 ﬁ İ"]


def target_of(name: str, tokenizers: Path | None) -> Callable[[bytes], None]:
    """The function that a fuzzer calls. Imports the library, so that a fuzzer can instrument it first."""
    import fuzz_targets

    from toedit.tokenizing import load_tokenizer

    if name == "reader":
        return fuzz_targets.check_reader
    with tempfile.TemporaryDirectory() as made:
        for family in FAMILIES:
            write_tokenizer(family, Path(made) / family)
        folders = [Path(made) / family for family in FAMILIES]
        folders += sorted(file.parent for file in tokenizers.glob("*/tokenizer.json")) if tokenizers else []
        loaded = [load_tokenizer(folder) for folder in folders]
    return lambda data: fuzz_targets.check_splicer(data, loaded)


def fuzz(asked: argparse.Namespace) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["toedit"]):
        target = target_of(asked.target, asked.tokenizers)

    def one_input(data: bytes) -> None:
        target(data)

    options = [
        f"-max_total_time={asked.seconds}",
        "-print_final_stats=1",
        "-timeout=30",
        "-rss_limit_mb=4096",
        "-len_control=0",
    ]
    options += ["-max_len=4096", f"-seed={asked.seed + 1}", f"-artifact_prefix={asked.work / asked.target}-"]
    words = asked.work / "words.txt"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in WORDS))
    options.append(f"-dict={words}")
    atheris.Setup([sys.argv[0], *options, str(asked.work / asked.target)], one_input)
    atheris.Fuzz()


def write_seeds(name: str, folder: Path) -> None:
    from fuzz_targets import seeds

    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(TEXTS)[name]):
        (folder / f"seed-{number:03d}").write_bytes(data)


def report(name: str, log: str) -> str:
    """The last line in which libFuzzer counts, and its own statistics."""
    counted = re.findall(r"^#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+) corp: (\d+)", log, re.MULTILINE)
    runs, edges, features, kept = counted[-1] if counted else ("0", "0", "0", "0")
    total = re.search(r"stat::number_of_executed_units:\s+(\d+)", log)
    return f"{name}: {total[1] if total else runs} executions, {edges} edges, {features} features, {kept} inputs kept"


def reached_lines(name: str, work: Callable[[], Any]) -> set[tuple[str, int]]:
    """(module, line) of the lines of the modules under test that run during `work`."""
    files = {str(REPOSITORY / "toedit" / module): module for module in MODULES[name]}
    reached = set()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        reached.add((files[frame.f_code.co_filename], frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return reached


def distil(asked: argparse.Namespace) -> None:
    """Count the lines that the inputs of --work reach; write a few small ones that reach what no seed reaches."""
    from fuzz_targets import seeds

    target = target_of(asked.target, asked.tokenizers)
    inputs = [file.read_bytes() for file in (asked.work / asked.target).iterdir()]
    every = reached_lines(asked.target, lambda: target_of(asked.target, asked.tokenizers))
    for data in seeds(TEXTS)[asked.target]:
        every |= reached_lines(asked.target, partial(target, data))
    kept = []
    for data in sorted(inputs, key=lambda data: (len(data), data)):  # the shortest that reaches something new
        lines = reached_lines(asked.target, partial(target, data))
        if lines - every:
            every |= lines
            if len(data) <= SMALL:
                kept.append(data.hex())
    asked.distil.parent.mkdir(parents=True, exist_ok=True)
    asked.distil.write_text("".join(line + "\n" for line in kept))
    for module in MODULES[asked.target]:
        path = REPOSITORY / "toedit" / module
        can_run = lines_in_functions(compile(path.read_text(), str(path), "exec"))
        reached = {line for name, line in every if name == module} & can_run
        print(f"toedit/{module}: {len(reached)} of {len(can_run)} lines")
    print(f"{len(inputs)} inputs; {len(kept)} small ones reach what no seed does: {asked.distil}")


def lines_in_functions(code: CodeType, inside: bool = False) -> set[int]:
    own = {line for *_, line in code.co_lines() if line and line != code.co_firstlineno} if inside else set()
    nested = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return own.union(*(lines_in_functions(each, not each.co_name[0].isupper()) for each in nested))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=list(MODULES))
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizers", type=Path, help="a folder of Hugging Face tokenizers")
    parser.add_argument("--work", type=Path, default=Path("fuzzed"))
    parser.add_argument("--distil", type=Path, help="write the smallest inputs of --work that reach all its lines")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.work = asked.work.resolve()
    if asked.child:
        fuzz(asked)
    if asked.distil:
        distil(asked)
        return 0
    write_seeds(asked.target, asked.work / asked.target)
    log = asked.work / f"{asked.target}.log"
    with log.open("wb") as file:
        code = subprocess.call([sys.executable, *sys.argv, "--child"], stdout=file, stderr=file)
    text = log.read_text(errors="replace")
    print(report(asked.target, text))
    if code:
        print(json.dumps(text[-3000:])[:4000] if "Traceback" not in text else text[text.index("===") :][-3000:])
        print(f"FINDING: see {log} and {asked.work}/{asked.target}-*")
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
