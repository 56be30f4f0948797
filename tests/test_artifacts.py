"""Artifacts: addresses follow from identity; building is atomic, resumable, exclusive; nothing foreign is touched."""

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from toedit.artifacts import Artifact, load_artifact, slug
from toedit.errors import MissingInput, UnusableInput
from toedit.fingerprints import FileHashes, hash_file
from toedit.verifying import verify
from toedit.workspace import Result, write_json


def three_shards(root: Path, log: list[str], fail_at: str | None = None, pause: float = 0.0, **identity) -> Artifact:
    def build(workspace):
        for shard in ("a", "b", "c"):
            if workspace.finished(shard):
                continue
            with workspace.shard(shard, f"data/{shard}") as ((path,), record):
                path.write_text(shard)
                time.sleep(pause)
                if shard == fail_at:
                    raise KeyboardInterrupt
                record["n"] = 1
            log.append(shard)
        return Result(counts={"n": 3}, rows={"data/a": 1})

    return Artifact("thing", "three shards", {"setting": 1, **identity}, root, build=build)


def test_the_manifest_is_complete_and_last(tmp_path):
    artifact = three_shards(tmp_path, [])
    assert artifact.state() == "to build"
    path = artifact.ensure()
    assert artifact.state() == "cached"
    manifest = json.loads((path / "manifest.json").read_text())
    for key in ("kind", "name", "fingerprint", "identity", "runtime", "inputs", "outputs", "counts", "code",
                "environment", "seeds", "revisions", "timings"):  # fmt: skip
        assert key in manifest
    outputs = {output["path"]: output for output in manifest["outputs"]}
    assert set(outputs) == {"data/a", "data/b", "data/c"} and outputs["data/a"]["rows"] == 1
    for name, output in outputs.items():
        assert output["bytes"] == 1 and output["sha256"] == hash_file(path / name)
    assert sorted(entry.name for entry in path.iterdir()) == ["data", "manifest.json"]


def test_an_interrupted_build_resumes_and_ends_the_same(tmp_path):
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        three_shards(tmp_path, log, fail_at="b").ensure()
    interrupted = three_shards(tmp_path, log)
    assert log == ["a"] and interrupted.state() == "unfinished"
    assert not list(interrupted.path.rglob("*.tmp"))
    interrupted.ensure()
    assert log == ["a", "b", "c"]
    whole = three_shards(tmp_path / "other", [])
    whole.ensure()
    for name in ("data/a", "data/b", "data/c"):
        assert (interrupted.path / name).read_bytes() == (whole.path / name).read_bytes()
    manifests = [artifact.manifest() for artifact in (interrupted, whole)]
    for manifest in manifests:
        manifest.pop("timings")
    assert manifests[0] == manifests[1]


def interrupted(root: Path) -> Artifact:
    """Shards a and b are finished, c is not."""
    with pytest.raises(KeyboardInterrupt):
        three_shards(root, [], fail_at="c").ensure()
    return three_shards(root, [])


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("place", ["data/b", ".progress/b.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda file: file.write_bytes(file.read_bytes()[:-2]), lambda file: file.write_bytes(b""), Path.unlink, a_folder],
    ids=["cut", "empty", "gone", "a folder"],
)
def test_what_is_damaged_in_unfinished_work_is_made_again(tmp_path, place, damage):
    """A machine that went down may have lost the end of a file that had its name already."""
    damage(interrupted(tmp_path / "one").path / place)
    log: list[str] = []
    artifact = three_shards(tmp_path / "one", log)
    artifact.ensure()
    whole = three_shards(tmp_path / "whole", [])
    whole.ensure()
    assert log == ["b", "c"]
    assert artifact.manifest()["outputs"] == whole.manifest()["outputs"]


def test_what_a_killed_run_was_just_writing_is_no_output(tmp_path):
    path = interrupted(tmp_path).path
    for name in (".building.json.4711.tmp", "manifest.json.4711.tmp", "data/facts.json.4711.tmp"):
        (path / name).write_text("{")
    three_shards(tmp_path, []).ensure()
    assert not list(path.rglob("*.tmp"))
    assert len(three_shards(tmp_path, []).manifest()["outputs"]) == 3


def test_a_record_that_is_still_json_but_says_something_else_counts_as_none(tmp_path):
    record = interrupted(tmp_path).path / ".progress" / "a.json"
    assert '"n": 1' in record.read_text()
    record.write_text(record.read_text().replace('"n": 1', '"n": 3'))
    log: list[str] = []
    three_shards(tmp_path, log).ensure()
    assert log == ["a", "c"]


def test_the_manifest_promises_the_bytes_that_were_written(tmp_path):
    """Whatever became of them since: else a damaged shard would be vouched for."""
    path = interrupted(tmp_path).path
    (path / "data" / "a").write_text("?")  # as long as before
    three_shards(tmp_path, []).ensure()
    assert verify(path) == [f"{path / 'data' / 'a'}: damaged: its bytes are not those that were written"]


def test_markers_outlive_a_machine_that_goes_down(tmp_path, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink().name))
    three_shards(tmp_path, []).ensure()
    assert [name.split(".json")[0] for name in synced] == [".building", "manifest"]


def test_identity_and_inputs_make_the_address_and_runtime_does_not(tmp_path):
    one, other = three_shards(tmp_path, []), three_shards(tmp_path, [], setting=2)
    assert one.fingerprint != other.fingerprint
    assert one.path.name == f"three-shards--{one.fingerprint[:8]}"
    assert three_shards(tmp_path / "elsewhere", []).fingerprint == one.fingerprint
    users = [Artifact("thing", "user", {}, tmp_path, inputs={"source": source}) for source in (one, other)]
    assert users[0].fingerprint != users[1].fingerprint


def test_two_at_once_build_once(tmp_path):
    log: list[str] = []
    threads = [threading.Thread(target=three_shards(tmp_path, log, pause=0.1).ensure) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log == ["a", "b", "c"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("precious")
    artifact = three_shards(tmp_path, [])
    artifact.out = out
    with pytest.raises(UnusableInput, match=r"thesis\.tex"):
        artifact.ensure()
    assert [file.name for file in out.iterdir()] == ["thesis.tex"]
    (out / "thesis.tex").unlink()
    artifact.ensure()
    other = three_shards(tmp_path, [], setting=2)
    other.out = out
    with pytest.raises(UnusableInput, match=r"holds another artifact .*made with setting=1 instead of 2\)"):
        other.ensure()
    file = three_shards(tmp_path, [])
    file.out = out / "manifest.json"
    with pytest.raises(UnusableInput, match="is a file"):
        file.ensure()


def test_a_marker_that_another_command_is_just_writing_is_not_foreign(tmp_path):
    artifact = three_shards(tmp_path, [])
    artifact.out = tmp_path / "same"
    artifact.out.mkdir()
    (artifact.out / ".building.json.4711.tmp").write_text("{")
    (artifact.ensure() / "manifest.json").unlink()
    (artifact.out / ".building.jsonl").write_text("not ours")
    with pytest.raises(UnusableInput, match=r"\.building\.jsonl"):
        artifact.ensure()


def test_bad_input_leaves_no_trace_in_the_asked_folder(tmp_path):
    def refuse(workspace):
        (workspace.path / "half.txt").write_text("half")
        raise UnusableInput("bad row")

    out = tmp_path / "out"
    with pytest.raises(UnusableInput, match="bad row"):
        Artifact("thing", "bad", {}, tmp_path, build=refuse, out=out).ensure()
    assert not out.exists()
    mended = three_shards(tmp_path, [])
    mended.out = out
    mended.ensure()


def refused(root: Path, out: Path | None = None) -> Artifact:
    """The three shards, by a build that meets bad input."""

    def build(workspace):
        raise UnusableInput("row 7 is bad")

    return Artifact("thing", "three shards", {"setting": 1}, root, build=build, out=out)


def test_a_rebuild_that_fails_leaves_what_was_there(tmp_path):
    """One file of a finished artifact is damaged, and its input has become unusable meanwhile."""
    path = three_shards(tmp_path, []).ensure()
    (path / "NOTES.md").write_text("mine")
    (path / "data" / "b").write_text("")
    before = {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(UnusableInput, match="row 7 is bad"):
        refused(tmp_path).ensure()
    assert {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    three_shards(tmp_path, []).ensure()
    assert (path / "data" / "b").read_text() == "b" and (path / "NOTES.md").read_text() == "mine"


def test_what_a_killed_build_left_outside_its_shards_survives_bad_input(tmp_path):
    """As the checkpoints of a training do."""
    artifact = refused(tmp_path)
    state = artifact.path / "state" / "1000"
    state.parent.mkdir(parents=True)
    state.write_text("weights")
    write_json(artifact.path / ".building.json", {"kind": "thing", "name": "x", "fingerprint": artifact.fingerprint})
    with pytest.raises(UnusableInput, match="row 7 is bad"):
        artifact.ensure()
    assert state.read_text() == "weights" and artifact.state() == "unfinished"


def test_a_folder_of_the_users_is_emptied_and_stays(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "real")
    for out in (Path(), tmp_path / "link"):
        with pytest.raises(UnusableInput, match="row 7 is bad"):
            refused(tmp_path, out).ensure()
        assert list((tmp_path / "real").iterdir()) == [] and (tmp_path / "link").is_symlink()


def test_many_at_once_on_bad_input_all_hear_of_it(tmp_path):
    """Each waits for the lock of one that removes the folder, lock and all."""
    heard: list[str] = []

    def run(artifact):
        try:
            artifact.ensure()
        except Exception as error:
            heard.append(str(error))

    for _ in range(20):
        threads = [threading.Thread(target=run, args=(refused(tmp_path),)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(heard) == {"row 7 is bad": 120} and not list(refused(tmp_path).path.glob("*"))


def test_who_waited_for_a_folder_that_is_gone_holds_the_lock_of_the_new_one(tmp_path):
    """Another begins while the one who waited is at work; they must not both be."""
    at_work, most = [], [0]

    def build(workspace):
        at_work.append(1)
        most[0] = max(most[0], len(at_work))
        time.sleep(0.1)
        at_work.pop()
        if len(ended) == 0:
            raise UnusableInput("bad")
        return Result()

    ended: list[str] = []

    def run():
        try:
            Artifact("thing", "waited for", {}, tmp_path, build=build).ensure()
        except UnusableInput:
            ended.append("bad")

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
        time.sleep(0.03)
    for thread in threads:
        thread.join()
    assert most == [1] and ended == ["bad"]


def test_an_impossible_folder_is_refused_before_inputs_are_built(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    log: list[str] = []
    source = three_shards(tmp_path, log)
    for out, words in (("dangling", "not there"), ("full", "'notes.txt'"), ("file/x", "is a file, not a folder")):
        edited = Artifact("edited", "x", {}, tmp_path, {"thing": source}, lambda _: Result(), out=tmp_path / out)
        with pytest.raises(UnusableInput, match=words):
            edited.ensure()
    assert log == []


def test_a_folder_that_cannot_be_made_is_an_error_not_a_wait(tmp_path):
    with pytest.raises(OSError):
        three_shards(Path("/proc/toedit"), []).ensure()


def test_a_damaged_artifact_is_built_again(tmp_path, capsys):
    log: list[str] = []
    path = three_shards(tmp_path, log).ensure()
    (path / "data" / "b").write_text("cut short?")
    assert three_shards(tmp_path, log).state() == "to build"
    three_shards(tmp_path, log).ensure()
    assert (path / "data" / "b").read_text() == "b"
    assert "damaged" in capsys.readouterr().err


def test_artifacts_by_path(tmp_path):
    with pytest.raises(MissingInput, match="build it with: make"):
        load_artifact(tmp_path / "no", ("thing",), "key", "make")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnusableInput, match=r"no manifest\.json"):
        load_artifact(tmp_path / "empty", ("thing",), "key", "make")
    write_json(tmp_path / "empty" / "manifest.json", [1])
    with pytest.raises(UnusableInput, match="not a manifest"):
        load_artifact(tmp_path / "empty", ("thing",), "key", "make")
    path = three_shards(tmp_path, []).ensure()
    with pytest.raises(UnusableInput, match="holds a thing artifact, wanted corpus"):
        load_artifact(path, ("corpus",), "corpus.path", "make")
    loaded = load_artifact(path, ("thing",), "key", "make")
    assert loaded.ensure() == path and loaded.fingerprint == three_shards(tmp_path, []).fingerprint
    (path / "data" / "a").unlink()
    with pytest.raises(UnusableInput, match="damaged or gone"):
        load_artifact(path, ("thing",), "key", "make").ensure()


def test_names_never_become_paths():
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("a b/c=d,e") == "a-b-c-d-e"
    assert slug("…") == "unnamed"


def test_file_hashes_follow_the_content(tmp_path):
    file = tmp_path / "x"
    file.write_text("one")
    first = FileHashes(tmp_path).of([file])[file]
    assert FileHashes(tmp_path).of([file])[file] == first == hash_file(file)
    file.write_text("three")
    assert FileHashes(tmp_path).of([file])[file] == hash_file(file) != first
