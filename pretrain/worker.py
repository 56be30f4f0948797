"""What one rank runs: `python -m pretrain.worker state/run.yaml`, started by launch.py or by torchrun itself.

torchrun --nnodes 2 --nproc-per-node 8 -m pretrain.worker <checkpoint>/state/run.yaml
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from pretrain.job import Job
from pretrain.launch import error_file
from toedit.errors import ToEditError
from toedit.workspace import write_json


def main(path: Path) -> int:
    _end_with_parent()
    job = Job.read(path)
    try:
        from pretrain.loop import run

        run(job)
    except ToEditError as error:
        held = {"class": type(error).__name__, "message": str(error)}
        write_json(error_file(job, int(os.environ.get("RANK", 0))), held)
        return error.exit_code
    return 0


def _end_with_parent() -> None:
    """A command that was killed must not leave ranks behind that write into a folder which the next one resumes."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(75)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
