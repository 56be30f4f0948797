"""Faults of disks, on real file systems of this run's own: full, read-only, dying under the run.

    full        a tmpfs of a random part of what the stage writes; then it is made larger, and the run goes on
    readonly    the output lies on a read-only mount
    dying       ext4 turns read-only under the run, as it does after an error of the device, and forgets what it had not
                written yet; it is repaired, and the run goes on

Mounts are made in a mount namespace that ends with the script (`own_mounts`): nobody else sees them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from faults.runs import Finding, Trial

_MARK = "TOEDIT_FAULTS_OWN_MOUNTS"
_ROOM = 256 << 20
_NOTES = 32 << 10
"""What Hydra notes of every run, in the working folder."""


def own_mounts() -> str:
    """Go on in a mount namespace of our own: `root`, `user` (no block devices there), or empty where there is none.

    Starts this script again, inside.
    """
    if inside := os.environ.get(_MARK):
        return inside
    for kind, options in (("root", ["--mount"]), ("user", ["--user", "--map-root-user", "--mount"])):
        probe = "mount -t tmpfs -o size=4096 none /mnt"
        if (kind == "root") != (os.geteuid() == 0) or not shutil.which("unshare"):
            continue
        if subprocess.run(["unshare", *options, "sh", "-c", probe], capture_output=True).returncode == 0:
            os.environ[_MARK] = kind
            sys.stdout.flush()
            os.execvp("unshare", ["unshare", *options, sys.executable, *sys.argv])
    return ""


def can_die(mounts: str) -> bool:
    """Whether ext4 images can be mounted here."""
    return mounts == "root" and Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4") is not None


def full(trial: Trial) -> str:
    """Too small a disk, then a larger one."""
    trial.place = trial.folder / "disk"
    trial.place.mkdir()
    size = max(int(trial.draw.uniform(0.02, 1.1) * (trial.stage.blocks + _NOTES)) // 4096, 1) * 4096
    _call("mount", "-t", "tmpfs", "-o", f"size={size}", "none", trial.place)
    try:
        code = trial.wait(trial.start(), {0, 75})
        if code and "disk is full" not in trial.error():
            raise Finding(f"does not say that the disk is full: {trial.error()}")
        _call("mount", "-o", f"remount,size={_ROOM}", trial.place)
        trial.finish()
        return "one line, then as undisturbed" if code else "had room"
    finally:
        _unmount(trial.place)


def readonly(trial: Trial) -> str:
    """An output that cannot be written; at times the working folder cannot, either."""
    trial.place, trial.works_there = trial.folder / "disk", trial.draw.random() < 0.3
    trial.place.mkdir()
    if has_begun := trial.draw.random() < 0.3:  # an earlier run was interrupted here
        process = trial.start()
        try:
            process.wait(trial.moment())
        except subprocess.TimeoutExpired:
            process.terminate()
        if trial.wait(process, {0, 75, -15}) == 0:
            return "too late"
    _call("mount", "--bind", trial.place, trial.place)
    try:
        _call("mount", "-o", "remount,ro,bind", trial.place)
        trial.wait(trial.start(), {2})
        wanted = "outputs" if trial.works_there else str(trial.place)  # where Hydra notes every run
        if wanted not in trial.error():
            raise Finding(f"does not name the folder: {trial.error()}")
    finally:
        _unmount(trial.place)
    if has_begun:
        trial.finish()
    return "one line, then as undisturbed" if has_begun else "one line"


def dying(trial: Trial) -> str:
    """The file system fails in the middle."""
    image, trial.place = trial.folder / "image", trial.folder / "disk"
    trial.place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    _call("mkfs.ext4", "-q", "-F", image)
    _call("mount", "-o", "loop,errors=remount-ro,commit=1", image, trial.place)
    try:
        process = trial.start()
        try:
            process.wait(trial.moment())
        except subprocess.TimeoutExpired:
            _call("mount", "-o", "remount,abort", trial.place)
        code = trial.wait(process, {0, 2, 75})
        _unmount(trial.place)
        subprocess.run(["fsck.ext4", "-fy", image], capture_output=True)
        _call("mount", "-o", "loop", image, trial.place)
        if (trial.out / "manifest.json").exists() and trial.differing():
            trial.finish()  # complete by its manifest, and sizes say that it is not
            return "rebuilt, as undisturbed"
        trial.finish()
        return "one line, then as undisturbed" if code else "as undisturbed"
    finally:
        _unmount(trial.place)


def _call(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


def _unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", place], capture_output=True)  # not mounted (any more): nothing to do
