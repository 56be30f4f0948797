"""docs/paper_map.md: every table and figure has a row, and what a row names exists."""

import re

import pytest
from conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "paper_map.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")]
STATUS = {"runs", "planned", "published alone"}
CONFIGS = REPOSITORY / "configs"


def rows_of(place: str) -> list[list[str]]:
    return [row for row in ROWS if row[0] == place and row[-1] in STATUS]


@pytest.mark.parametrize("place", [f"Table {n}" for n in range(1, 19)] + [f"Figure {n}" for n in range(1, 15)])
def test_every_table_and_figure_has_one_row_and_its_report(place):
    (row,) = rows_of(place)
    kind, number = place.split()
    name = f"{'table' if kind == 'Table' else 'fig'}{number}"
    if row[1] == "none":
        assert place == "Figure 1"
        return
    assert row[1] == f"`{name}`"
    report = (CONFIGS / "report" / f"{name}.yaml").read_text(encoding="utf-8")
    experiments = set(re.findall(r"experiment: (paper/\w+)", report))
    assert (row[-1] == "runs") == bool(experiments)
    named, stem = set(), ""
    for quoted in re.findall(r"`([^`]+)`", row[3]):
        if quoted.startswith("paper/"):
            stem = quoted
            named.add(quoted)
        elif quoted.startswith("_"):  # `paper/continual_biomed`, `_finance`
            named.add(stem.rpartition("_")[0] + quoted)
    assert named == experiments, f"{place}: the map and configs/report/{name}.yaml name other experiments"


@pytest.mark.parametrize("section", [f"Section {n}" for n in range(1, 7)] + [f"Appendix {letter}" for letter in "ABFG"])
def test_every_section_has_a_row(section):
    assert any(row[0].startswith(section) for row in ROWS if row[-1] in STATUS)


@pytest.mark.parametrize("part", ["Section 2", "Section 3", "Section 4"])
def test_seddik_et_al_has_its_rows(part):
    assert rows_of(f"Seddik et al., {part}")


def test_what_the_map_names_exists():
    experiments = set(re.findall(r"paper/\w+", TEXT))
    there = {
        path.relative_to(CONFIGS / "experiment").with_suffix("").as_posix() for path in CONFIGS.glob("experiment/*/*")
    }
    assert experiments <= there, experiments - there
    for path in re.findall(r"`((?:toedit|analysis|eval|pretrain|sft|configs|continual_pretrain)/[\w/.]*)`", TEXT):
        assert (REPOSITORY / path).exists(), path
    for key in ("stage", "theory"):
        named = set(re.findall(rf"\b{key}=(\w+)", TEXT))
        assert named <= {path.stem for path in CONFIGS.glob(f"{key}/*.yaml")}, key


def test_only_what_has_no_command_is_planned():
    """A planned row must not name a stage that there is: it would be forgotten when the stage comes."""
    there = {path.stem for path in CONFIGS.glob("stage/*.yaml")}
    for row in ROWS:
        if row[-1] == "planned":
            assert not set(re.findall(r"stage=(\w+)", " ".join(row))) & there, row
