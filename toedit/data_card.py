"""README.md of an edited corpus that is to be shared: what it was, who changed it how, how to get the original back.

Reads manifests alone: the edited corpus's and those of everything it was made from. Printed by `toedit card edited`,
put beside the documents by `toedit push edited owner/name` (`toedit.sharing`).
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from toedit.ancestry import ancestry
from toedit.editors import rule, settings_of
from toedit.errors import UnusableInput
from toedit.workspace import read_manifest

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
          (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))  # fmt: skip

_BEGINS = r"(?<![^=,:\[{(])"
"""Where a value of a command's word begins: at its start, after `key=`, in a list, in a mapping."""
_ABSOLUTE = re.compile(
    rf"{_BEGINS}(?P<quote>[\"'])(?:file://)?/(?P<quoted>.*?)(?P=quote)|{_BEGINS}(?:file://)?/(?!/)(?P<bare>[^,\]}})]*)"
)


def data_card(path: Path, name: str, licence: str | None = None) -> str:
    """The card of the edited corpus in `path`, to be shared as `name`.

    `licence` is the hub's identifier of one; without it the card says that the source's applies. Raises UnusableInput
    where the folder is not an edited corpus.
    """
    manifest = read_manifest(path)
    if manifest["kind"] != "edited_corpus":
        raise UnusableInput(f"{path}: holds a {manifest['kind']} artifact, wanted edited_corpus")
    counts, edit = manifest["counts"], settings_of(manifest["identity"])
    source, prior = _ancestor(path, "corpus"), _ancestor(path, "prior")
    size = next((label for most, label in _SIZES if counts["documents"] < most), "n>1B")
    return f"""---
{yaml.safe_dump({"license": licence or "other"}, allow_unicode=True, width=1000).strip()}
task_categories: [text-generation]
tags: [toedit, semi-synthetic]
size_categories: [{size}]
configs:
- config_name: default
  data_files: documents/*.jsonl.zst
- config_name: edits
  data_files: edits/*.parquet
---

# {name.rpartition("/")[2]}

Semi-synthetic text: {source["words"]}, in which a prior language model has drawn some tokens anew (token-level editing,
*How to Synthesize Text Data without Model Collapse?*, ICML 2025).

| | |
|---|---|
| source | {source["words"]} |
| prior | {prior["words"]} |
| rule | {rule(edit)}; seed {edit.seed} |
| documents, tokens | {counts["documents"]:,}, {counts["tokens"]:,} of the prior's tokenizer |
| eligible tokens (the rule may change them) | {counts["eligible"]:,}, {_share(counts["eligible"], counts["tokens"])} |
| changed tokens (they differ) | {counts["changed"]:,}, {_share(counts["changed"], counts["tokens"])} |
| made with | toedit {manifest["environment"].get("toedit", "")}, fingerprint `{manifest["fingerprint"][:16]}` |

Both rates matter: an eligible token mostly stays what it was, as the original is among its own candidates.

```python
from datasets import load_dataset

documents = load_dataset("{name}", split="train")        # metadata.toedit counts tokens, eligible, changed
edits = load_dataset("{name}", "edits", split="train")   # one row a changed token
```

## Getting the original back

`edits/` is the ledger: document, byte span, old and new text of every changed token. With the whole folder on disk,
`toedit revert FOLDER --out original` restores each document byte for byte.

## Licence

{_licence(licence, source)}

## How it was made

`manifest.json` holds every setting, seed, version and checksum.

```
{_commands(path)}
```
"""


def _ancestor(path: Path, role: str) -> dict[str, Any]:
    """The corpus or prior behind the edit: its name, and hub id and revision where it came from there."""
    found = next((one for one in ancestry(path) if one.role == role), None)
    if found is None:
        return {"words": "unknown (no longer beside the artifact)", "hub_id": None}
    hub_id, revision = None, None
    if found.state == "there":
        identity = read_manifest(found.path)["identity"]
        hub_id, revision = identity.get("hub_id"), identity.get("revision")
    if role == "prior" and hub_id is None:
        revisions = {name: commit for one in ancestry(path) if one.state == "there"
                     for name, commit in read_manifest(one.path)["revisions"].items()}  # fmt: skip
        hub_id = next((name for name in revisions if name.rpartition("/")[2] == found.name), None)
        revision = revisions.get(hub_id) if hub_id else None
    at = f" at revision `{revision}`" if revision else ""
    return {"words": f"`{hub_id}`{at}" if hub_id else f"`{found.name}`", "hub_id": hub_id}


def _licence(licence: str | None, source: dict[str, Any]) -> str:
    of = f"of `{source['hub_id']}` (see its card)" if source["hub_id"] else "of the source"
    inherited = f"The text is the source's but for the changed tokens: the licence {of} applies"
    if licence:
        return f"{inherited}; it is shared under `{licence}`, which must be compatible with it."
    return f"{inherited}. The terms of the prior may restrict what its output is used for."


def _commands(path: Path) -> str:
    """Each command of the ancestry once, the first that ran first; of absolute paths the last part alone."""
    lines = [shlex.split(one.command) for one in ancestry(path) if one.command]
    commands = [shlex.join(_without_folders(word) for word in words) for words in lines]
    return "\n".join(dict.fromkeys(reversed(commands))) or json.dumps("not recorded")


def _without_folders(word: str) -> str:
    """`out=/home/me/edited` as `out=edited`: where it lay on one machine is nobody else's business."""

    def last_part(found: re.Match[str]) -> str:
        quote, path = found["quote"] or "", found["quoted"] if found["quote"] else found["bare"]
        return f"{quote}{path.rstrip('/').rpartition('/')[2] or '/'}{quote}"

    return _ABSOLUTE.sub(last_part, word)


def _share(part: float, whole: int) -> str:
    return f"{part / max(whole, 1):.4%}"
