"""Token-level editing of text: score it with a prior language model once, then edit it as often as you like.

    import toedit

    scores = toedit.score("my-corpus", prior="my-model")
    edited = toedit.edit(scores, p=0.99, k=8, out="edited")
    print(edited.eligible, edited.changed, edited.path)

The same as a command: `toedit edit my-corpus --prior my-model -p 0.99 -k 8 --out edited`. The algorithm is
`toedit.editing`, whole experiments are `run.py` of the repository. Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toedit.errors import ToEditError
    from toedit.library import Edited, Scores, diff, edit, export_dolma, plan, revert, score

__version__ = "0.1.0"
__all__ = ["Edited", "Scores", "ToEditError", "__version__", "diff", "edit", "export_dolma", "plan", "revert", "score"]

_PLACES = {"ToEditError": "toedit.errors"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES.get(name, "toedit.library")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
