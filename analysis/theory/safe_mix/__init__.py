"""`theory=safe_mix`: `contexts` counts a corpus, `amounts` has the formulas, `mixing` the whole corpus's shares."""
