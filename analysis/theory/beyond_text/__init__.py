"""`theory=beyond_text`: `sources` makes sequences, `count_prior` predicts them, `generations` edits, `laws` expects."""
