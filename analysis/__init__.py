"""Corpus statistics: `python run.py stage=analyze`. A module or package an analysis, with `plan` and `report`."""
