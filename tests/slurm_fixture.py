"""What Slurm gives a job of two machines, made up: both are this one; scontrol writes down what it is asked."""

import os
import sys
from pathlib import Path

from conftest import REPOSITORY

SRUN = """#!/usr/bin/env bash
# srun of two machines that are both this one: the command once each, its exit code the worst; or of one of them.
[[ $1 != --nodes=1 ]]; alone=$?
while [[ $1 == --* ]]; do shift; done
((alone)) && exec "$@"
for node in 0 1; do SLURM_NODEID=$node "$@" & running+=($!); done
trap 'kill -TERM "${running[@]}"' TERM
code=0
for process in "${running[@]}"; do
  while true; do
    wait "$process"; own=$?
    kill -0 "$process" 2>/dev/null || break
  done
  ((own > code)) && code=$own
done
exit "$code"
"""


def slurm_job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job; what `scontrol` is asked is written to `tmp_path/asked`."""
    (tmp_path / "bin").mkdir()
    scontrol = (
        "#!/usr/bin/env bash\n"
        f'if [[ $1 == show ]]; then echo localhost; echo localhost; else echo "$@" >> {tmp_path}/asked; fi\n'
    )
    for name, content in (("scontrol", scontrol), ("srun", SRUN)):
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NNODES": "2",
        "TOEDIT_REPOSITORY": str(REPOSITORY),
        "TOEDIT_PYTHON": sys.executable,
    }
