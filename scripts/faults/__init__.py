"""Faults that `scripts/inject_faults.py` injects: kills, lost workers, full and read-only disks, damaged files."""
