"""The library's stages. Each module has `plan(config) -> Artifact` and `report(config, artifact) -> row`.

`run.py` calls `plan`, then `artifact.ensure()`, then `report`, which says what a person wants to know and returns the
stage's row for the closing table of a sweep.
"""
