"""What the ranks of a training read: the resolved configuration and the folders, in one YAML file.

The parent composes the configuration once and writes `state/run.yaml`; the ranks read that file, not Hydra.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from toedit.config import Config

RUN_FILE = "state/run.yaml"
OUTCOME = "state/outcome.json"


@dataclass(frozen=True)
class Job:
    """One training."""

    config: Config
    folder: Path
    """The checkpoint artifact that is being built."""
    name: str
    tokens: Path
    """The tokens artifact, or the examples of a fine-tuning."""
    validation: Path | None = None
    base: Path | None = None
    """The model that it starts from; None: fresh weights."""

    def write(self) -> Path:
        from omegaconf import OmegaConf

        folders = {"folder": self.folder, "tokens": self.tokens, "validation": self.validation, "base": self.base}
        absolute = {key: str(path.resolve()) if path else None for key, path in folders.items()}
        path = self.folder / RUN_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create({"name": self.name, **absolute, "config": asdict(self.config)}), path)
        return path

    @staticmethod
    def read(path: Path) -> Job:
        from omegaconf import OmegaConf

        from toedit.command import build_config

        # Interpolations were resolved by the parent; a `$` in a path is only a `$`.
        held = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        assert isinstance(held, dict)
        validation, base = (Path(held[key]) if held[key] else None for key in ("validation", "base"))
        config = build_config(held["config"])
        return Job(config, Path(held["folder"]), held["name"], Path(held["tokens"]), validation, base)
