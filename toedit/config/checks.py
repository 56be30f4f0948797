"""One-line refusals of values that do not fit their key."""

from __future__ import annotations

from typing import Any

from toedit.errors import BadConfiguration


def require(holds: bool, key: str, value: Any, wanted: str) -> None:
    """Raise one line that names the key unless `holds`."""
    if not holds:
        raise BadConfiguration(f"{key}={value}: {wanted}")


def require_one_of(key: str, value: Any, choices: tuple[str, ...]) -> None:
    require(value in choices, key, value, f"must be one of {', '.join(choices)}")
