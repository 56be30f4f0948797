"""Published numbers, from `analysis/published.yaml`: data with their provenance, for tables that stand beside ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from toedit.config import PublishedConfig
from toedit.errors import BadConfiguration

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Published:
    """What is published about the settings of an experiment."""

    columns: list[str]
    cells: dict[str, list[str]]
    """Setting -> numbers, as they were printed."""
    notes: list[str]
    """Where they come from and what to know about them."""


@cache
def tables() -> dict[str, Any]:
    """The whole file."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(FILE))
    return dict(content)


def published_for(config: PublishedConfig) -> Published | None:
    """The numbers that `config` names, None where it names no table.

    Raises BadConfiguration naming what the file does not hold.
    """
    if config.table is None:
        return None
    if config.table not in tables():
        raise BadConfiguration(f"experiment.published.table={config.table}: there are {', '.join(tables())}")
    table = tables()[config.table]
    columns = config.columns or table["columns"]
    for key, wanted, known in (
        ("columns", columns, table["columns"]),
        ("rows", config.rows.values(), table["rows"]),
        ("drawn", config.drawn, columns),
        ("panels", config.panels, columns),
    ):
        if unknown := [name for name in wanted if name not in known]:
            raise BadConfiguration(f"experiment.published.{key}={unknown[0]}: {config.table} has {', '.join(known)}")
    places = [table["columns"].index(column) for column in columns]
    cells = {setting: [str(table["rows"][row][place]) for place in places] for setting, row in config.rows.items()}
    return Published(list(columns), cells, [f"Published: {table['title']}. {table['source']}", *table["notes"]])
