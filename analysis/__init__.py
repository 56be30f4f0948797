"""Corpus statistics: `python run.py stage=analyze`. One module an analysis, each with `plan` and `report`."""
