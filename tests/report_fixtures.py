"""Finished reports as the page of reports takes them: made-up numbers of ours beside published ones, all verdicts."""

from pathlib import Path

from analysis.reports.cells import (
    AGREES,
    NOT_COMPARABLE,
    NOT_RUN,
    Cell,
    Ours,
    Report,
    verdict_on_difference,
    verdict_on_statement,
)

PILE = (
    *("ArXiv", "BookCorpus2", "Books3", "DM Mathematics", "Enron Emails", "EuroParl", "FreeLaw", "Github"),
    *("Gutenberg (PG-19)", "HackerNews", "NIH ExPorter", "OpenSubtitles", "OpenWebText2", "PhilPapers", "Pile-CC"),
    *("PubMed Abstracts", "PubMed Central", "StackExchange", "USPTO Backgrounds", "Ubuntu IRC", "Wikipedia (en)"),
    "YoutubeSubtitles",
)
SHARES = ("human", "25 % synthetic", "50 %", "75 %", "synthetic")
HOSTILE = "</td><script>alert(1)</script>\"'><img src=http://example.org/x onerror=alert(2)>\x1b[2J\u202eevil &lt;"


def mixtures(name="table1", place="Table 1", scale="tiny", columns=PILE) -> Report:
    """A table with a grid of numbers; the fuller of synthetic text, the worse, but for one column."""
    run = "python run.py experiment=paper/mix_ratio_pile scale=tiny experiment.jobs=2"
    cells = []
    for place_of_row, row in enumerate(SHARES):
        for place_of_column, column in enumerate(columns):
            published = round((20 + place_of_column) * (1 + 0.2 * place_of_row), 2)
            ours = round(published * 7.3, 3)
            cell = Cell("", row, column, f"{published}", ours, ours * 0.97, ours * 1.04, scale=scale, seeds=3)
            cell.measure, cell.command = f"{column}.perplexity", run
            cell.manifest = f"artifacts/experiment/paper-mix_ratio_pile.tiny--dc84{place_of_row}/manifest.json"
            if place_of_row == 0:
                cell.verdict, cell.reason = NOT_COMPARABLE, "the baseline: another model and corpus"
            else:
                sign = -1 if column == "DM Mathematics" else 1
                difference = Ours(sign * 8.21 * place_of_row, sign * 9.5 * place_of_row, sign * 7.5 * place_of_row)
                difference = Ours(difference.value, min(difference.low, difference.high), difference.high)
                if column == "Ubuntu IRC":
                    difference = Ours(0.42, -1.31, 2.15)
                cell.difference, cell.difference_low = difference.value, difference.low
                cell.difference_high = max(difference.high, difference.value)
                cell.verdict, cell.reason = verdict_on_difference(
                    0.2 * place_of_row * (20 + place_of_column), difference, 0
                )
            cells.append(cell)
    return Report(
        name,
        place,
        "Perplexity of GPT-2 on the Pile's subdomains, by the share of synthetic text",
        "table",
        scale,
        f"python run.py stage=report report={name} scale={scale}",
        cells,
        ["arXiv 2412.14689 v3, truncated rather than rounded; agrees with the authors' result files."],
        ["The two printed averages are not the means of the printed cells; they are left out."],
        ["figure"],
    )


def coverage(name="fig3", place="Figure 3") -> Report:
    """A figure with statements."""
    says = {
        "synthetic documents lie within the lowest quarter of the human range": (Ours(0.31, 0.27, 0.36), "below", 0.25),
        "the central 95 % of human documents cover the synthetic ones": (Ours(0.991, 0.985, 0.996), "above", 0.95),
        "fewer synthetic documents than 5 % lie above the human 95th percentile": (Ours(0.0), "below", 0.05),
    }
    cells = []
    for statement, (ours, side, bound) in says.items():
        verdict, reason = verdict_on_statement(ours, side, bound)
        cell = Cell("", "", "", statement, ours.value, ours.low, ours.high, scale="small", seeds=1)
        cell.verdict, cell.reason, cell.measure = verdict, reason, "second.within_95"
        cell.command = "python run.py stage=analyze analysis=perplexity_distribution analysis.other.path=synthetic"
        cell.manifest = "artifacts/figure/human-synthetic.perplexity--11aa/manifest.json"
        cells.append(cell)
    return Report(
        name,
        place,
        "Perplexities of human and synthetic documents under one prior",
        "figure",
        "small",
        f"python run.py stage=report report={name}",
        cells,
        ["Read from the text of arXiv 2412.14689 v3."],
        [],
        ["perplexity_distribution"],
    )


def unrun(name="table2", place="Table 2") -> Report:
    """A table of which nothing has been run."""
    command = "python run.py experiment=paper/pretrain_edited scale=paper experiment.jobs=4 'experiment.seeds=[0,1,2]'"
    tasks = {"PIQA": (53.97, 54.13), "BoolQ": (38.26, 38.65), "ARC-e": (28.36, 27.48), "HellaSwag": (26.02, 25.94)}
    cells = [
        Cell("", row, task, f"{numbers[place]}", verdict=NOT_RUN, reason="no finished experiment", command=command)
        for place, row in enumerate(("source", "edited"))
        for task, numbers in tasks.items()
    ]
    title = "Zero-shot accuracy of OLMo-1B, pre-trained on a corpus and on its edited version"
    own = f"python run.py stage=report report={name} scale=paper"
    return Report(name, place, title, "table", "paper", own, cells, missing=[command])


def generations(name="table15", place="Table 15") -> Report:
    """A table in two parts, at the published size, one of them not run; a number without interval, one that is none."""
    run = "python run.py experiment=paper/generations scale=paper"
    shares = [("1", "12.5", 12.44, AGREES), ("2", "11.76", 11.81, AGREES), ("3", "11.08", float("nan"), NOT_COMPARABLE)]
    cells = [
        Cell("eligible tokens", row, "share, %", printed, ours, verdict=verdict, command=run, scale="paper", seeds=1)
        for row, printed, ours, verdict in shares
    ]
    cells += [Cell("changed tokens", row, "share, %", "–", verdict=NOT_RUN, command=run) for row, *_ in shares]
    for cell in cells[:2]:
        cell.reason, cell.manifest = "within 5%", f"artifacts/edit/generation-{cell.row}/manifest.json"
    cells[2].reason = "cannot be computed here"
    title, own = "Eligible tokens when edited text is edited again", f"python run.py stage=report report={name}"
    return Report(name, place, title, "table", "paper", own, cells)


def hostile(name="table12", place="Table 12") -> Report:
    """Every text of it would like to be markup."""
    cell = Cell(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1.0, 0.5, 2.0, 0.1, -0.1, 0.3, HOSTILE, 2, NOT_COMPARABLE, HOSTILE)
    cell.measure, cell.command, cell.manifest = HOSTILE, HOSTILE, f"artifacts/{HOSTILE}/manifest.json"
    return Report(name, HOSTILE, HOSTILE, "table", HOSTILE, HOSTILE, [cell], [HOSTILE], [HOSTILE], [], [HOSTILE])


def all_reports() -> list[Report]:
    """Reports of many claims, every verdict among them."""
    return [mixtures(), mixtures("table14", "Table 14", columns=PILE[:5]), coverage(), unrun(), generations()]


def draw(path: Path, label: str = "documents") -> Path:
    """A small vector picture in the style of the project's figures."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from analysis.figure_style import METADATA, STYLE

    with rc_context(STYLE):
        figure = Figure(figsize=(7, 3.2), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for place, axis in enumerate(axes):
            axis.bar(
                range(20), [(7 * step + place) % 11 + 1 for step in range(20)], color=("#2a6fb0", "#b45309")[place]
            )
            axis.set_xlabel("perplexity")
            axis.set_title(("human", "synthetic")[place], fontsize=9)
        axes[0].set_ylabel(label)
        figure.savefig(path, metadata=METADATA["svg"])
    return path
