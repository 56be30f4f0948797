"""Ray clusters' addresses: looked at before Ray is, which would try for minutes or join a cluster that nobody named.

For executor=ray, and for sweeps:

    python run.py -m hydra/launcher=ray_cluster hydra.launcher.ray.init.address=node0:6379 stage=edit edit.k=4,8,64
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from toedit.errors import BadConfiguration, MissingInput

_LAUNCHER = "hydra/launcher"
_ADDRESS = "hydra.launcher.ray.init.address"


def refuse_silence(key: str, address: str, seconds: float) -> None:
    """Raise where no cluster can be: BadConfiguration for what is no address, MissingInput where nothing listens."""
    if address == "auto":  # whatever runs on this machine, by request
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise BadConfiguration(f"{key}={address}: wants host:port of a running cluster, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=seconds).close()
    except (OSError, OverflowError) as error:
        raise MissingInput(
            f"{key}={address}: no Ray cluster answers there ({error}); {how_to_start(address)}"
        ) from None


def how_to_start(address: str | None) -> str:
    return f"start one with: ray start --head --port={(address or '').rpartition(':')[2] or '6379'}"


def check_launcher(overrides: Sequence[str], seconds: float) -> None:
    """Raise where a sweep asks Hydra's launcher for Ray to guess a cluster, or for one that is not there."""
    asked = dict(override.partition("=")[::2] for override in overrides)
    if asked.get(_LAUNCHER) == "ray":
        raise BadConfiguration(
            f"{_LAUNCHER}=ray would join whatever Ray cluster runs on this machine; say {_LAUNCHER}=ray_local, or "
            f"{_LAUNCHER}=ray_cluster {_ADDRESS}=host:port"
        )
    if asked.get(_LAUNCHER) == "ray_cluster":
        address = asked.get(_ADDRESS, os.environ.get("RAY_ADDRESS"))
        if address is None:
            raise BadConfiguration(f"{_LAUNCHER}=ray_cluster: wants {_ADDRESS}=host:port (or RAY_ADDRESS)")
        refuse_silence(_ADDRESS, address, seconds)
