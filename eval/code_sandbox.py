"""The process in which one program runs, as far from everything else as this machine lets it. Imports nothing of ours.

`code_execution.py` starts this file as a script, once a program, in a new folder and with an empty environment. Reads
from stdin `{"program", "limits", "kernel"}`; writes to stdout `{"reason", "guards"}`: reason is `passed`, or why not;
guards says what stood between the program and the machine.

Three processes: this one keeps the time; a second one is the first of a new PID namespace, so that nothing the program
starts outlives it; the third runs the program. What it says travels by a pipe, behind a word that it does not know.
Where the kernel refuses namespaces or Landlock, and with `kernel` false, an audit hook of Python takes their place.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import secrets
import select
import signal
import stat
import struct
import sys
import time
import types
from pathlib import Path
from typing import Any, NoReturn

PASSED, WRONG, TIME, MEMORY, ENDED = "passed", "wrong answer", "time", "memory", "ended before its tests were over"
_NOBODY = 65534
_KEPT_BYTES = 1 << 20
# unshare(2)
_NEW_USER, _NEW_PID, _NEW_NET, _NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
_NO_NEW_PRIVILEGES, _SUBREAPER = 38, 36
# landlock(7): the calls have one number on every architecture
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_FILE_RIGHTS_BY_ABI = (0, 13, 14, 15, 15, 16, 16)
"""Rights to files that a version of Landlock knows: the lowest so many bits."""
_READ, _ON_FILES = 0b1101, 0b1100000000000111
"""Execute, read a file, list a folder; those that make sense for a single file."""
_READABLE = ("/usr", "/lib", "/lib64", "/bin", "/etc/localtime", "/dev/zero", "/dev/random", "/dev/urandom")

# Audit events. The network is closed by them in any case: a namespace does not close sockets that lie in folders.
_NETWORK = ("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendmsg",
            "socket.sendto", "socket.gethostbyaddr", "socket.getnameinfo")  # fmt: skip
_PROCESSES = ("os.exec", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.spawn", "os.system",
              "subprocess.Popen", "ctypes.dlopen", "ctypes.dlsym", "signal.pthread_kill")  # fmt: skip
_PATHS = ("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.setxattr",
          "os.symlink", "os.truncate", "os.utime", "sqlite3.connect", "shutil.rmtree")  # fmt: skip


def main() -> None:
    """Run the program of stdin; say what became of it."""
    asked = json.load(sys.stdin)
    limits, guards = asked["limits"], []
    if asked["kernel"]:
        guards += _leave_root()
        is_root = os.geteuid() == 0
        guards += _leave_namespaces()
        guards += ["counted"] if "namespaces" in guards and not is_root else []
    _libc().prctl(_SUBREAPER, 1, 0, 0, 0)
    word = secrets.token_hex(16)
    reading, writing = os.pipe()
    deadline = time.monotonic() + limits["seconds"]
    first = os.fork()
    if first == 0:
        os.close(reading)
        os._exit(_stand_between(asked, guards, word, writing))
    os.close(writing)
    said, status = _listen(reading, first, deadline)
    _end_orphans()
    message = said.partition(word.encode())[2]
    if message:
        answer, _ = json.JSONDecoder().raw_decode(message.decode(errors="replace"))
    else:
        answer = {"reason": _silent(status), "guards": guards}
    print(json.dumps(answer))


def _listen(reading: int, first: int, deadline: float) -> tuple[bytes, int | None]:
    """What came through the pipe, and the exit code; None where the time was over."""
    said, status = b"", None
    while status is None and time.monotonic() < deadline:
        ready, _, _ = select.select([reading] if len(said) < _KEPT_BYTES else [], [], [], 0.01)
        part = os.read(reading, 1 << 16) if ready else b""
        said += part
        ended, code = os.waitpid(first, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if ended else None
    if status is None:
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        return b"", None
    while len(said) < _KEPT_BYTES and select.select([reading], [], [], 0)[0] and (part := os.read(reading, 1 << 16)):
        said += part
    return said, status


def _end_orphans() -> None:
    """Without a PID namespace, what the program started and left behind has become ours."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    with contextlib.suppress(OSError):
        while found := children.read_text().split():
            for process in map(int, found):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)


def _silent(status: int | None) -> str:
    if status is None or status == 128 + signal.SIGXCPU:
        return TIME
    return f"{ENDED} ({f'signal {status - 128}' if status > 128 else f'exit code {status}'})"


def _stand_between(asked: dict[str, Any], guards: list[str], word: str, writing: int) -> int:
    """The first process of the namespace: the exit code of the program's."""
    program = os.fork()
    if program == 0:
        _run(asked, guards, word, writing)
    os.close(writing)
    while True:  # others may be adopted
        ended, code = os.wait()
        if ended == program:
            status = os.waitstatus_to_exitcode(code)
            return status if status >= 0 else 128 - status


def _run(asked: dict[str, Any], guards: list[str], word: str, writing: int) -> NoReturn:
    """The program's process: close every door, then run it, tests included."""
    program = types.ModuleType("candidate")
    sys.modules["candidate"] = program
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    _set_limits(asked["limits"])
    guards += _leave_files(str(Path.cwd())) if asked["kernel"] else []
    _close_in_python(guards)
    guards.append("limits")
    own = os.getpid()
    try:
        exec(compile(asked["program"], "<program>", "exec"), program.__dict__)
        reason = PASSED
    except BaseException as error:
        reason = _reason(error)
    if os.getpid() == own:  # what it forked has no say
        os.write(writing, word.encode() + json.dumps({"reason": reason, "guards": guards}).encode())
    os._exit(0)


def _reason(error: BaseException) -> str:
    if isinstance(error, AssertionError):
        return WRONG
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, SystemExit):
        return f"{ENDED} (SystemExit)"
    try:
        return f"{type(error).__name__}: {error}"[:200]
    except BaseException:  # its own __str__
        return type(error).__name__[:200]


# --- what the kernel closes -------------------------------------------------------------------------------------------


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _set_limits(limits: dict[str, int]) -> None:
    wanted = {
        resource.RLIMIT_CPU: int(limits["seconds"]) + 1,
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        # Three of them are this file's own. Root is exempt, and without a namespace all processes of a user count:
        # there the hook refuses them.
        resource.RLIMIT_NPROC: limits["processes"] + 3,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in wanted.items():
        most = resource.getrlimit(limit)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of memory
            resource.setrlimit(limit, (value, value))


def _leave_root() -> list[str]:
    """Root is exempt from permissions and limits of processes: become nobody, where nobody can read this Python."""
    needed = [Path(sys.prefix), Path(sys.base_prefix), Path.cwd().parent, Path(os.path.realpath(sys.executable)).parent]
    if os.geteuid() != 0 or not all(_open_to_others(path) for path in needed):
        return []
    try:
        os.chown(".", _NOBODY, _NOBODY)
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        return []
    return ["user"]


def _open_to_others(path: Path) -> bool:
    return all(stat.S_IMODE(part.stat().st_mode) & 0o1 for part in (path, *path.parents))


def _leave_namespaces() -> list[str]:
    """No network, and processes that end with the first of them."""
    try:
        refused = _libc().unshare(_NEW_USER | _NEW_PID | _NEW_NET | _NEW_IPC)
    except AttributeError:  # not Linux
        return []
    return [] if refused else ["namespaces"]


def _leave_files(own: str) -> list[str]:
    """Landlock: this folder alone is written, this Python and the system's libraries alone are read."""
    libc = _libc()
    try:
        abi = libc.syscall(_CREATE_RULESET, None, 0, 1)
    except AttributeError:
        return []
    if abi < 1:
        return []
    every = (1 << _FILE_RIGHTS_BY_ABI[min(abi, len(_FILE_RIGHTS_BY_ABI) - 1)]) - 1
    tcp, scopes = (0b11 if abi >= 4 else 0), (0b11 if abi >= 6 else 0)
    rules = struct.pack("=QQQ", every, tcp, scopes)[: 8 * (1 + (abi >= 4) + (abi >= 6))]
    ruleset = libc.syscall(_CREATE_RULESET, rules, len(rules), 0)
    if ruleset < 0:
        return []
    readable = {sys.prefix, sys.base_prefix, str(Path(os.path.realpath(sys.executable)).parent), *_READABLE}
    for path, rights in [(own, every), ("/dev/null", 0b110), *((path, _READ) for path in readable)]:
        with contextlib.suppress(OSError):  # not every system has all of them
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rights &= every if stat.S_ISDIR(os.fstat(descriptor).st_mode) else every & _ON_FILES
            libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
            os.close(descriptor)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    closed = libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return ["landlock"] if closed else []


# --- what Python closes -----------------------------------------------------------------------------------------------


def _close_in_python(guards: list[str]) -> None:
    """An audit hook for what the kernel left open. Code that is not Python passes it by."""
    counted = "counted" in guards
    forbidden = {*_NETWORK, *(() if counted else _PROCESSES)}
    own = "" if "landlock" in guards else str(Path.cwd().resolve()) + os.sep

    def inside(path: Any) -> bool:
        if isinstance(path, int):
            return True
        return (os.path.realpath(os.fsdecode(path)) + os.sep).startswith(own) or os.fsdecode(path) == os.devnull

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in forbidden:
            raise PermissionError(f"a program may not do this: {event}")
        if not own:
            return
        if event == "open":
            path, _, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            if writes and not inside(path):
                raise PermissionError("a program may not write a file outside its folder")
        elif event in _PATHS and not all(inside(path) for path in arguments if isinstance(path, (str, bytes))):
            raise PermissionError(f"a program may not do this outside its folder: {event}")

    sys.addaudithook(hook)
    guards += ["network hook"] + ([] if counted else ["process hook"]) + (["file hook"] if own else [])


if __name__ == "__main__":
    main()
