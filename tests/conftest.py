"""What tests share: a repetitive corpus, a prior trained on it in seconds, and a way to run the command."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
# One thread: on models this small a second one gains nothing, and on busy cores the two wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

# Small enough to train in seconds; on the repetitive corpus it still learns to be sure of itself.
SMALL_TRAINING = {
    "vocabulary_size": 400,
    "hidden_size": 64,
    "intermediate_size": 128,
    "layers": 2,
    "heads": 2,
    "context": 48,
    "steps": 160,
    "batch_sequences": 16,
    "learning_rate": 1e-2,
    "dtype": "float32",
    "checkpoint_every": 40,
}
SUBJECTS = ("The cat", "A small dog", "My neighbour", "The café owner", "Nobody", "Zoë 🙂")
PLACES = ("on the mat", "under the bridge", "near the old mill", "in the garden", "at the end of the street")
VERBS = ("sat quietly", "waited for the bus", "sang an old song", "looked at the sky")


def repetitive_documents(count: int = 60, seed: int = 0) -> list[dict]:
    """Text with a pattern that a small model learns: many tokens become nearly certain."""
    import random

    choose = random.Random(seed)
    documents = []
    for number in range(count):
        sentences = [
            f"{choose.choice(SUBJECTS)} {choose.choice(VERBS)} {choose.choice(PLACES)}, as the story goes."
            for _ in range(choose.randint(1, 14))
        ]
        documents.append(
            {"id": f"doc/{number}", "text": " ".join(sentences), "source": "pattern", "metadata": {"n": number}}
        )
    return documents


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def training_overrides(**changes: object) -> list[str]:
    return [f"prior.training.{key}={value}" for key, value in {**SMALL_TRAINING, **changes}.items()]


def run_command(*arguments: str, cwd: Path, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python run.py …` in a folder of its own, as a user would."""
    run = subprocess.run(
        [sys.executable, str(REPOSITORY / "run.py"), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )
    assert run.returncode == expect, f"exit {run.returncode}, wanted {expect}\n{run.stdout}\n{run.stderr}"
    return run


def files_of(folder: Path, *kinds: str) -> dict[str, bytes]:
    """{relative path: bytes} of the files below the named subfolders."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for kind in kinds
        for file in sorted((folder / kind).rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "pattern.jsonl", repetitive_documents())


@pytest.fixture(scope="session")
def small_prior(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path) -> Path:
    """The Hugging Face folder of a prior that `stage=prior` trained on the corpus."""
    folder = tmp_path_factory.mktemp("prior")
    run_command(
        "stage=prior",
        "corpus@prior.corpus=local",
        f"prior.corpus.path={corpus_file}",
        "prior.corpus.split=null",
        *training_overrides(),
        f"out={folder / 'prior'}",
        cwd=folder,
    )
    return folder / "prior" / "hf"


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The Python that has vLLM. Absent, its environment is made with CI=true; otherwise tests that need it are skipped
    and say how to make it."""
    python = REPOSITORY / os.environ.get("TOEDIT_VLLM_VENV", ".venv-vllm") / "bin" / "python"
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(
            "no vLLM here: make its environment with `bash scripts/environment_vllm.sh` (3.5 GB), or set CI=true"
        )
    made = subprocess.run(
        ["bash", str(REPOSITORY / "scripts" / "environment_vllm.sh")], capture_output=True, text=True, timeout=1800
    )
    assert made.returncode == 0, made.stderr
    assert (REPOSITORY / made.stdout.strip()).samefile(python)
    return python


@pytest.fixture(scope="session")
def harness():
    """The package lm_eval."""
    if importlib.util.find_spec("lm_eval") is None:
        message = "lm-eval is not installed: pip install 'lm-eval[hf]>=0.4.13,<0.5'"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    import lm_eval

    return lm_eval
