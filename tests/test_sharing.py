"""Sharing an edited corpus: its card says what it is, and what is uploaded is that and nothing of this machine."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from conftest import REPOSITORY, files_of, repetitive_documents, write_jsonl

import toedit
from toedit import sharing
from toedit.command_line import main
from toedit.data_card import _without_folders, data_card
from toedit.documents import read_documents, shard_paths
from toedit.errors import UnusableInput
from toedit.workspace import MANIFEST, read_manifest

SECRET = "hf_notForAnybodysEyes"


@pytest.fixture(scope="module")
def edited(small_prior, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharing")
    path = write_jsonl(folder / "my-texts.jsonl", repetitive_documents(6))
    options = {"artifacts": folder / "artifacts", "out": folder / "edited", "settings": {"score.min_p": 0.5}}
    return toedit.edit(path, prior=small_prior, p=0.6, temperature=3, **options)


def download(path, folder):
    """What somebody else gets: the files and the manifest that a push uploads, and nothing they were made from."""
    manifest = read_manifest(path)
    for where, file in sharing._files(path, manifest["kind"]):
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / where)
    (folder / MANIFEST).write_text(json.dumps(sharing._shared(manifest)))


@pytest.fixture
def downloaded(edited, tmp_path):
    folder = tmp_path / "theirs" / "edited"
    download(edited.path, folder)
    (folder / "README.md").write_text(data_card(edited.path, "me/edited"))
    return folder


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload talks to; remembers what it is told."""

    told: list  # set for each server

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.told.append((self.path, self.headers.get("Authorization"), body))
        if self.path.startswith("/api/repos/create"):
            asked = json.loads(body)
            kind = "datasets/" if asked["type"] == "dataset" else ""
            self._answer({"url": f"http://{self.headers['Host']}/{kind}{asked['organization']}/{asked['name']}"})
        elif self.path == "/api/validate-yaml":  # of the card
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._answer({"files": [{**file, "shouldIgnore": False} for file in files]})
        elif "/commit/" in self.path:
            place = f"http://{self.headers['Host']}/datasets/me/edited/commit/{'0' * 40}"
            self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": place})
        else:
            self._answer({"error": "no such place"}, 404)

    def do_GET(self):
        self._answer({})

    def _answer(self, value, code=200):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    handler = type("OneHub", (Hub,), {"told": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.told
    server.shutdown()


def command(*arguments, endpoint="http://127.0.0.1:9", cwd, **environment):
    kept = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    run = subprocess.run(
        [sys.executable, "-m", "toedit", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**kept, "PYTHONPATH": str(REPOSITORY), "HF_ENDPOINT": endpoint, "HF_HOME": f"{cwd}/home"} | environment,
    )  # fmt: skip
    assert "Traceback" not in run.stderr, run.stderr
    return run


def test_the_card_says_what_it_is(edited):
    card = data_card(edited.path, "me/edited", "odc-by")
    header = yaml.safe_load(card.split("---")[1])
    assert header["license"] == "odc-by" and header["configs"][0]["data_files"] == "documents/*.jsonl.zst"
    assert header["size_categories"] == ["n<1K"]
    for part in ("`my-texts`", "P >= 0.6, k = 8, temperature 3; seed 0", f"| {edited.changed:,}, ", "toedit revert"):
        assert part in card, card
    assert "applies" in data_card(edited.path, "me/edited").split("## Licence")[1]
    scores = next((edited.path.parent / "artifacts" / "scores").iterdir())
    with pytest.raises(UnusableInput, match="wanted edited_corpus"):
        data_card(scores, "me/scores")


def test_a_push_uploads_the_corpus_its_ledger_and_its_card(edited, hub, tmp_path):
    endpoint, told = hub
    run = command("push", edited.path, "me/edited", endpoint=endpoint, cwd=tmp_path, HF_TOKEN=SECRET)
    assert run.returncode == 0 and f"pushed: {endpoint}/datasets/me/edited" in run.stdout, run.stderr
    created = json.loads(next(body for path, _, body in told if path.endswith("/repos/create")))
    assert (created.get("private") or created.get("visibility") == "private") and created["type"] == "dataset"
    ((_, authorization, commit),) = [entry for entry in told if "/commit/" in entry[0]]
    assert authorization == f"Bearer {SECRET}"
    values = [line["value"] for line in map(json.loads, commit.splitlines()) if line["key"] == "file"]
    files = {value["path"]: base64.b64decode(value["content"]) for value in values}
    there = {"/".join((kind, name.partition("/")[2])): content for kind in ("documents", "edits")
             for name, content in files_of(edited.path, kind).items()}  # fmt: skip
    assert there and {name: files[name] for name in there} == there
    assert set(files) == {*there, "README.md", "manifest.json"}
    for name in ("README.md", "manifest.json"):
        text = files[name].decode()
        assert SECRET not in text and str(edited.path.parent) not in text
    shared = json.loads(files["manifest.json"])
    assert "runtime" not in shared and "path" not in shared["inputs"]["scores"] and shared["counts"]["changed"] > 0
    assert SECRET not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("/home/me/my texts/a.jsonl", "a.jsonl"),
        ("/home/me/folder/", "folder"),
        ("out=/home/me/edited", "out=edited"),
        ("--out=/home/me/edited", "--out=edited"),
        ("file:///home/me/edited", "edited"),
        ("corpus.path=/data/*/part-*.jsonl", "corpus.path=part-*.jsonl"),
        ("mixing.paths=[/home/me/a,/home/me/b]", "mixing.paths=[a,b]"),
        ("paths={raw:/home/me/a,'kept':'/home/me/b, or c/d'}", "paths={raw:a,'kept':'d'}"),
        ("corpus.path='/home/me/a,b/c=d.jsonl'", "corpus.path='c=d.jsonl'"),
        *((kept, kept) for kept in ("edited", "here/edited", "a/b/c", "../edited", "hub=owner/name", "k=8", "share=1/2",
                                    "https://host/a/b", "s3://bucket/a", "prompt=either / or", "/", "")),
    ],
)  # fmt: skip
def test_of_absolute_paths_a_card_shows_the_last_part(word, shown):
    assert _without_folders(word) == shown


def test_a_card_names_no_folder_of_this_machine(edited, tmp_path):
    artifacts, scores = tmp_path / "own", next((edited.path.parent / "artifacts" / "scores").iterdir())
    run = command("edit", scores, "-p", "0.7", "--out", tmp_path / "theirs", f"artifacts={artifacts}", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert read_manifest(tmp_path / "theirs")["runtime"]["command"][:2] == ["toedit", "edit"]
    commands = data_card(tmp_path / "theirs", "me/theirs").split("## How it was made")[1]
    assert f"toedit edit {scores.name} -p 0.7 --out theirs artifacts=own" in commands.splitlines()
    assert "/tmp" not in commands and str(tmp_path) not in commands


@pytest.mark.parametrize("licence", ["odc-by", "a: b", "no", "x # y", "'", '"', "- z", "[", "Lizenz für 🙂", "a " * 80])
def test_any_licence_is_quoted_so_that_the_header_parses(edited, licence):
    header = yaml.safe_load(data_card(edited.path, "me/edited", licence).split("---")[1])
    assert header["license"] == licence and header["configs"][1]["config_name"] == "edits"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("nowhere", "me/edited"), 3, "nowhere"),
        (("EDITED", "edited"), 2, "owner/name"),
        (("SCORES", "me/x"), 2, "scores"),
    ],
)
def test_what_cannot_be_pushed_is_one_line(edited, arguments, code, named, tmp_path):
    scores = next((edited.path.parent / "artifacts" / "scores").iterdir())
    places = {"EDITED": edited.path, "SCORES": scores}
    run = command("push", *(places.get(part, part) for part in arguments), cwd=tmp_path)
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert run.returncode == code and len(errors) == 1 and named in errors[0], run.stderr


def test_a_hub_that_is_not_there_or_refuses_is_one_line(edited, hub, tmp_path):
    run = command("push", edited.path, "me/edited", cwd=tmp_path, HF_TOKEN=SECRET)  # nobody listens
    assert run.returncode == 2 and run.stderr.splitlines()[-1].startswith("error: me/edited: the hub did not take it")
    assert SECRET not in run.stdout + run.stderr


def test_what_was_pushed_can_be_reverted_as_its_card_says(edited, downloaded, monkeypatch):
    monkeypatch.chdir(downloaded.parent)
    assert main(["revert", "edited", "--out", "original"]) == 0
    corpus = edited.path.parent / "artifacts" / "corpus"
    (original,) = (one for one in corpus.iterdir() if one.is_dir())
    texts = [
        [(one["id"], one["text"]) for path in shard_paths(folder) for one in read_documents(path)]
        for folder in (original, downloaded.parent / "original", downloaded)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert files_of(original, "documents") == files_of(downloaded.parent / "original", "documents")


def test_a_model_that_was_pushed_is_a_prior_as_it_was_here(edited, small_prior, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    download(small_prior.parent, tmp_path / "model")
    assert main(["verify", "model"]) == 0
    texts = [document["text"] for path in shard_paths(edited.path) for document in read_documents(path)]
    theirs, ours = (toedit.score(texts, prior) for prior in ("model", small_prior))
    assert files_of(theirs.path, "scores") == files_of(ours.path, "scores") != {}
    with pytest.raises(UnusableInput, match="nothing to push"):
        sharing.push(tmp_path / "model", "me/model")


def test_what_was_pushed_says_what_it_lacks(edited, downloaded, monkeypatch, capsys):
    monkeypatch.chdir(downloaded.parent)
    assert main(["why", "edited"]) == 0 and "scores: scores" in (said := capsys.readouterr().out) and "(gone)" in said
    assert main(["verify", "edited"]) == 0
    assert main(["card", "edited"]) == 0 and "no longer beside" not in (said := capsys.readouterr().out)
    assert "| source | `my-texts` |" in said
    for arguments in (["diff", "edited"], ["export-dolma", "edited", "--out", "for-dolma"]):
        assert main(arguments) == 3
        assert capsys.readouterr().err.splitlines()[-1].startswith("error: edited"), arguments
    assert sharing._shared(read_manifest(downloaded)) == read_manifest(downloaded)
