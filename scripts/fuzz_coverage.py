"""A coverage-guided fuzzer (Atheris, which is libFuzzer) on the row reader and on the splicer.

    python=$(bash scripts/environment_fuzz.sh)
    $python scripts/fuzz_coverage.py reader --seconds 300 --work fuzzed
    $python scripts/fuzz_coverage.py splicer --seconds 300 --work fuzzed --tokenizers tokenizers/
    $python scripts/fuzz_coverage.py reader --lines --work fuzzed           the lines that the inputs found reach

The properties stand in `fuzz_targets.py`. Keeps in --work the inputs that reached new code, `<target>/`, from which a
later run goes on, and one that broke a property, `<target>-crash-*`; then exits 1. --tokenizers is a folder of
Hugging Face tokenizers, beside the three made here.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
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

    options = [f"-max_total_time={asked.seconds}", "-print_final_stats=1", "-timeout=30", "-rss_limit_mb=4096"]
    options += ["-max_len=4096", f"-seed={asked.seed + 1}", f"-artifact_prefix={asked.work / asked.target}-"]
    atheris.Setup([sys.argv[0], *options, str(asked.work / asked.target)], one_input)
    atheris.Fuzz()


def write_seeds(name: str, folder: Path) -> None:
    from fuzz_targets import sound_seeds

    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(sound_seeds(TEXTS)[name]):
        (folder / f"seed-{number:03d}").write_bytes(data)


def report(name: str, log: str) -> str:
    """The last line in which libFuzzer counts, and its own statistics."""
    counted = re.findall(r"^#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+) corp: (\d+)", log, re.MULTILINE)
    runs, edges, features, kept = counted[-1] if counted else ("0", "0", "0", "0")
    total = re.search(r"stat::number_of_executed_units:\s+(\d+)", log)
    return f"{name}: {total[1] if total else runs} executions, {edges} edges, {features} features, {kept} inputs kept"


def reached_lines(name: str, inputs: Path, tokenizers: Path | None) -> dict[str, tuple[int, int]]:
    """By module: how many of its lines the inputs reach, and how many can run."""
    reached: dict[str, set[int]] = {str(REPOSITORY / "toedit" / module): set() for module in MODULES[name]}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        lines = reached.get(frame.f_code.co_filename)
        if lines is None:
            return None
        lines.add(frame.f_lineno)
        return trace

    target = target_of(name, tokenizers)
    sys.settrace(trace)
    try:
        for file in sorted(inputs.iterdir()):
            target(file.read_bytes())
    finally:
        sys.settrace(None)
    found = {}
    for module, lines in reached.items():
        can_run = lines_in_functions(compile(Path(module).read_text(), module, "exec"))
        found[module] = (len(lines & can_run), len(can_run))
    return found


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
    parser.add_argument("--lines", action="store_true", help="count the lines that the inputs in --work reach")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.work = asked.work.resolve()
    if asked.child:
        fuzz(asked)
    if asked.lines:
        for module, (reached, lines) in reached_lines(
            asked.target, asked.work / asked.target, asked.tokenizers
        ).items():
            print(f"{Path(module).relative_to(REPOSITORY)}: {reached} of {lines} lines")
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
