"""Two machines for tests of what goes over several: network namespaces with addresses of their own where the test may
make them, else this machine's loopback twice."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TestMachine:
    __test__ = False
    inside: list[str] = field(default_factory=list)
    """What a command begins with that is to run there."""
    address: str = "127.0.0.1"
    interface: str = "lo"


def ip(*arguments: str) -> bool:
    try:
        return subprocess.run(["ip", *arguments], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


@contextmanager
def two_machines(name: str, network: str) -> Iterator[list[TestMachine]]:
    """Two machines that see each other and nothing else. `name` (short) and `network` (10.213.7) keep tests apart."""
    machines = [
        TestMachine(["ip", "netns", "exec", f"toedit-{name}{n}"], f"{network}.{n + 1}", f"{name}{n}") for n in (0, 1)
    ]
    spaces = [machine.inside[-1] for machine in machines]
    links = [machine.interface for machine in machines]
    made = all(ip("netns", "add", space) for space in spaces) and ip(
        "link", "add", links[0], "netns", spaces[0], "type", "veth", "peer", "name", links[1], "netns", spaces[1]
    )
    for space, machine in zip(spaces, machines, strict=True):
        made = (
            made
            and ip("-n", space, "addr", "add", f"{machine.address}/24", "dev", machine.interface)
            and ip("-n", space, "link", "set", machine.interface, "up")
            and ip("-n", space, "link", "set", "lo", "up")
        )
    try:
        yield machines if made else [TestMachine(), TestMachine()]
    finally:
        for space in spaces:
            ip("netns", "del", space)
