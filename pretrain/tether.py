"""Runs a command that ends when its starter does, however that happens: `python tether.py COMMAND …`.

The starter holds the other end of this process's standard input. When it closes, the whole process group gets SIGTERM,
and after a while SIGKILL. Imports the standard library alone, so that it starts in an instant; exits with the command's
exit code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 35.0
"""torchrun gives its ranks 30 seconds to end."""


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # meant for the group; this process reports how the command ended
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starter's business; it closes our standard input
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_as_usual)
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _as_usual() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def _watch(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1):  # nothing is ever written: it returns when the starter is gone
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
