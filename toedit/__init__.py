"""Token-level editing of text: score it with a prior language model once, then edit it as often as you like.

The algorithm is `toedit.editing`; the command is `run.py`.
"""

__version__ = "0.1.0"
