"""The examples before an MBPP question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def second_to_fourth(docs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Tasks 2, 3 and 4, which the data set's authors and the harness show, in this order."""
    return sorted((doc for doc in docs if doc["task_id"] in (2, 3, 4)), key=lambda doc: doc["task_id"])
