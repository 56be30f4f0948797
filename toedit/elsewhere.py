"""An engine in another process: only the engine moves; corpus, tokenizer and artifacts stay with the command.

Each GPU has a process of its own; and vLLM needs other versions of Transformers and NumPy than the core, so it lives in
a virtual environment of its own. `Elsewhere` starts a Python, this one or that environment's, with this very `toedit`,
and hands it token ids through a socket; arrays come back. Whatever the child prints goes to stderr; its errors become
one line here. It ends when this process does, however that happens: the socket closes.

A scorer (`toedit/scorers/`) and a sampler (`toedit/sampling.py`) are such engines.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import warnings
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import toedit
from toedit.errors import ToEditError, UnusableInput

# Runs in the other Python. It loads this `toedit` from its file: the other environment may hold a different one, and
# a folder of ours on its path could bring our NumPy along.
_CHILD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("toedit", sys.argv[1])
sys.modules["toedit"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from toedit.elsewhere import serve
serve(int(sys.argv[2]))
"""


class Elsewhere:
    """What `engine`, a class, makes of `arguments`, kept in a process of its own that `python` runs.

    `name` is the setting that asks for it, for messages; `facts` are the attributes that are copied from the engine.
    """

    def __init__(
        self, name: str, python: Path, engine: Callable[..., Any], arguments: Sequence[Any], facts: Sequence[str]
    ) -> None:
        self.name = name
        ours, theirs = socket.socketpair()
        with theirs:
            command = [str(python), "-c", _CHILD, str(toedit.__file__), str(theirs.fileno())]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[theirs.fileno()]
            )  # its stdout is our stderr: stdout is for results
        self.connection = Connection(ours.detach())
        weakref.finalize(self, _stop, self.process, self.connection)
        for fact, value in self._ask((engine, tuple(arguments), tuple(facts))).items():
            setattr(self, fact, value)

    def call(self, method: str, *arguments: Any) -> Any:
        """What the engine's `method` answers."""
        return self._ask((method, arguments))

    def _ask(self, question: Any) -> Any:
        try:
            self.connection.send(question)
            answer = self.connection.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            raise UnusableInput(f"{self.name}: its process ended (exit code {code}); what it said is above") from None
        if isinstance(answer, ToEditError):
            raise answer
        return answer


def serve(descriptor: int) -> None:
    """The other side: make the engine of the first message, then answer calls until the socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it closes the socket
    warnings.simplefilter("ignore")
    with Connection(descriptor) as parent:
        try:
            engine_class, arguments, facts = parent.recv()  # classes travel by name: the module is imported here
            engine = engine_class(*arguments)
            parent.send({fact: getattr(engine, fact) for fact in facts})
            while True:
                method, arguments = parent.recv()
                parent.send(getattr(engine, method)(*arguments))
        except ToEditError as error:
            parent.send(error)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass


def _stop(process: subprocess.Popen[bytes], connection: Connection) -> None:
    connection.close()
    process.kill()
    process.wait()
