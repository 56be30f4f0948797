"""What one rank runs: `python -m pretrain.worker <checkpoint>/state/run.yaml`, started by launch.py."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path

from pretrain.job import Job
from pretrain.launch import FULL, LOST, error_file, run
from toedit.command import as_user_error
from toedit.workspace import write_json

_CLOSED = ("connection closed", "connection reset", "broken pipe", "connection refused")
_SILENT = ("timed out", "gloo/transport")
"""What torch.distributed says when a peer is gone; its errors have no class of their own on every backend."""


def main(path: Path) -> int:
    _end_with_parent()
    job = Job.read(path)
    try:
        run(job)
    except BaseException as error:
        known = as_user_error(error)
        if known is None and _lost_the_others(error):
            print(f"rank {os.environ.get('RANK', 0)}: {' '.join(str(error).split())[:200]}", file=sys.stderr)
            return LOST
        if known is None:
            raise
        held = {"class": type(known).__name__, "message": str(known)}
        try:
            write_json(error_file(job, int(os.environ.get("RANK", 0))), held)
        except OSError:  # a full disk has no room for this, either
            return FULL if "disk is full" in held["message"] else known.exit_code
        return known.exit_code
    return 0


def _lost_the_others(error: BaseException) -> bool:
    """Whether it is the connection to other ranks that broke: theirs to say why, if they still can."""
    world = os.environ.get("WORLD_SIZE", "1")
    is_alone = world == os.environ.get("LOCAL_WORLD_SIZE", "1")
    # A rank of this machine does not fall silent as machines do: where one is waited for in vain, it is a defect.
    signs = _CLOSED if is_alone else (*_CLOSED, *_SILENT)
    said = str(error).lower()
    return world != "1" and isinstance(error, RuntimeError) and any(words in said for words in signs)


def _end_with_parent() -> None:
    """A command that was killed must not leave ranks behind that write into a folder which the next one resumes."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(75)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    try:
        code = main(Path(sys.argv[1]))
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the destructors of native libraries: on a busy machine their threads now and then abort the process, and
    # a rank that had done its work would count as dead.
    os._exit(code)
