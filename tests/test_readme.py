"""The README's commands, run as they stand. What needs the network runs as a dry run: its plan must come without one.

The quickstart takes minutes: it builds the embedded corpus and prior, and everything after it reuses them.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, repetitive_documents, run_command, write_jsonl
from eval_fixtures import evaluation, row
from tokens_fixture import build_tokens

import run

README = (REPOSITORY / "README.md").read_text()
IN_BLOCKS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
IN_TABLES = re.findall(r"\| `(python run\.py [^`]+)` \|", README)
EXAMPLES = [stage.example for stage in run.STAGES.values()]
COMMANDS = list(dict.fromkeys([*IN_BLOCKS, *IN_TABLES, *EXAMPLES]))
NEEDS_NETWORK = ("dolma", "llama", "qwen", "gpt2")
RUN_ELSEWHERE = {
    "bash scripts/quickstart.sh": "test_the_quickstart",
    "bash scripts/test.sh": "it is what runs this test",
    "source .venv/bin/activate": "no command of ours",
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, small_prior) -> Path:
    """A folder with the reader's own corpus and model, and the quickstart's artifacts."""
    work = tmp_path_factory.mktemp("reader")
    rows = write_jsonl(work / "my.jsonl", repetitive_documents())
    subprocess.run(["gzip", "--keep", str(rows)], check=True)
    pairs = [{"instruction": "Tell a story.", "output": document["text"]} for document in repetitive_documents(9)]
    (work / "rows.json").write_text(json.dumps(pairs))
    shutil.copytree(small_prior, work / "my-model")
    config = json.loads((work / "my-model" / "config.json").read_text())
    config["max_position_embeddings"] = 512  # a reader's model has room for the recipes
    (work / "my-model" / "config.json").write_text(json.dumps(config))
    shutil.copytree(build_tokens(work / "hand-made"), work / "my-tokens")
    for name in ("eval-a", "eval-b"):
        evaluation(work / name, [row("piqa", 0.5), row("boolq", 0.6)], model=name)
    return work


@pytest.fixture(scope="module")
def quickstart(workplace) -> str:
    """What `bash scripts/quickstart.sh` prints, in the environment of the tests."""
    # As a reader has it, with all cores; beside other tests with one, since two threads on busy cores crawl.
    beside = "PYTEST_XDIST_WORKER" in os.environ
    environment = {key: value for key, value in os.environ.items() if beside or key != "OMP_NUM_THREADS"}
    command = ["bash", str(REPOSITORY / "scripts" / "quickstart.sh"), f"artifacts={workplace / 'artifacts'}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=environment)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_quickstart_shows_edits_rates_presets_and_where_the_files_are(quickstart, workplace):
    assert " → " in quickstart
    rows = re.findall(r"^ +(paper|official) +(0\.9|0\.99) +8 +(1|1\.5) +\S+% +\S+% +\S+% +ok$", quickstart, re.M)
    assert len(rows) == 4, quickstart
    assert "P >= 0.99" in quickstart and "token_probability.png" in quickstart and "diff.html" in quickstart
    for path in re.findall(r"^(?:written|already there): (.+)$", quickstart, re.M):
        assert (Path(path) / "manifest.json").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command, workplace, quickstart):
    if command in RUN_ELSEWHERE:
        return
    words = shlex.split(command)
    assert words[:2] == ["python", "run.py"], f"the README has a command that no test runs: {command}"
    dry = ["dry_run=true"] if any(name in command for name in NEEDS_NETWORK) else []
    if "edited.path=my-edited-corpus" in command and not (workplace / "my-edited-corpus").exists():
        run_command("stage=edit", "corpus=local", "corpus.path=my.jsonl", "prior=local", "prior.path=my-model",
                    "out=my-edited-corpus", cwd=workplace)  # fmt: skip
    shutil.rmtree(workplace / "original", ignore_errors=True)
    run_command(*words[2:], *dry, cwd=workplace)


def test_what_the_readme_says_about_the_result_is_so(workplace, quickstart):
    from datasets import load_dataset

    out = workplace / "for-datasets"
    run_command("stage=edit", "corpus=local", "corpus.path=my.jsonl", "prior=local", "prior.path=my-model",
                f"out={out}", cwd=workplace)  # fmt: skip
    corpus = load_dataset("json", data_files=str(out / "documents" / "*.jsonl.zst"), split="train")
    assert len(corpus) == 60 and set(corpus[0]["metadata"]["toedit"]) == {"tokens", "eligible", "changed"}
    odd = workplace / "my texts, 2024"
    odd.mkdir()
    shutil.copy(workplace / "my.jsonl", odd / "a=b.jsonl")
    quoted = re.search(r"`('corpus\.path=[^`]+')`", README)
    assert quoted is not None
    run_command("stage=corpus", "corpus=local", *shlex.split(quoted[1]), cwd=workplace)


def test_the_algorithm_in_the_readme_is_the_one_in_the_code():
    code = re.sub(r"\s+", " ", (REPOSITORY / "toedit" / "editing.py").read_text())
    block = re.search(r"```python\n(index_E.*?)```", README, re.DOTALL)
    assert block is not None
    for line in block[1].splitlines():
        statement = re.sub(r"\s+", " ", line.split("  #")[0].strip())
        assert statement in code, f"editing.py does not say: {statement}"
