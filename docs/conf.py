"""The documentation site, from the pages in this folder: Sphinx with MyST (Markdown, notebooks).

python -m sphinx -W -b html docs site          # the tutorial runs while it is built
"""

from pathlib import Path

project = "toedit"
author = "the toedit authors"
copyright = author
version = release = next(
    line.split('"')[1]
    for line in (Path(__file__).parents[1] / "toedit" / "__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)
extensions = ["myst_nb"]
exclude_patterns = ["figures/*"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "remove"  # progress, and what libraries have to say about the terminal
html_theme = "furo"
html_title = "toedit"
html_copy_source = False
# Links to folders of the repository: pages of the repository's own site, not of this one.
suppress_warnings = ["myst.xref_missing"]
