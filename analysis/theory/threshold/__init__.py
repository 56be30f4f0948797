"""`theory=collapse_threshold` and `theory=phase_diagram`: `slope`, `tolerance`, `irreversibility` estimate."""
