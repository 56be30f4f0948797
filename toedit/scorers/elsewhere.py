"""A scorer in another process: only the engine moves; corpus, tokenizer and artifacts stay with the command.

Each GPU has a process of its own; and vLLM needs other versions of Transformers and NumPy than the core, so it lives in
a virtual environment of its own. `ScorerElsewhere` starts a Python, this one or that environment's, with this very
`toedit` and hands it batches of token ids through a socket; arrays come back. Whatever the child prints goes to stderr;
its errors become one line here. It ends when this process does, however that happens: the socket closes.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import warnings
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import toedit
from toedit.config import ScoreConfig, ScorerConfig
from toedit.errors import ToEditError, UnusableInput
from toedit.scorers import BatchScores
from toedit.windows import ModelInput

# Runs in the other Python. It loads this `toedit` from its file: the other environment may hold a different one, and
# a folder of ours on its path could bring our NumPy along.
_CHILD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("toedit", sys.argv[1])
sys.modules["toedit"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from toedit.scorers.elsewhere import serve
serve(int(sys.argv[2]))
"""


class ScorerElsewhere:
    """The scorer that `scorer.kind` names, in a process of its own, run by `python`."""

    def __init__(self, python: Path, model: Path, score: ScoreConfig, scorer: ScorerConfig) -> None:
        self.kind = scorer.kind
        ours, theirs = socket.socketpair()
        with theirs:
            command = [str(python), "-c", _CHILD, str(toedit.__file__), str(theirs.fileno())]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[theirs.fileno()]
            )  # its stdout is our stderr: stdout is for results
        self.connection = Connection(ours.detach())
        weakref.finalize(self, _stop, self.process, self.connection)
        self.versions: dict[str, str]
        self.batch_tokens: int
        self.versions, self.batch_tokens = self._ask((model.resolve(), score, scorer))

    def score(self, batch: list[ModelInput]) -> BatchScores:
        scores: BatchScores = self._ask(batch)
        return scores

    def _ask(self, question: Any) -> Any:
        try:
            self.connection.send(question)
            answer = self.connection.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            raise UnusableInput(
                f"scorer={self.kind}: its process ended (exit code {code}); what it said is above"
            ) from None
        if isinstance(answer, ToEditError):
            raise answer
        return answer


def serve(descriptor: int) -> None:
    """The other side: build the scorer from the first message, then answer batches until the socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it closes the socket
    warnings.simplefilter("ignore")
    from toedit.scorers import Scorer

    with Connection(descriptor) as parent:
        try:
            model, score, settings = parent.recv()
            scorer: Scorer
            if settings.kind == "vllm":
                from toedit.scorers.vllm import VllmScorer

                scorer = VllmScorer(model, score, settings)
            else:
                from toedit.scorers.torch import TorchScorer

                scorer = TorchScorer(model, score, settings)
            parent.send((scorer.versions, scorer.batch_tokens))
            while True:
                parent.send(scorer.score(parent.recv()))
        except ToEditError as error:
            parent.send(error)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass


def _stop(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    process.wait()
