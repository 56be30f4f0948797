"""Every editor against its scalar transcription, what each promises, and all presets on a small run."""

import math
import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scalar_reference as scalar
from artifact_fixtures import CANDIDATES, build_edited, build_scores, load_tokenizer
from conftest import REPOSITORY
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import toedit.config
from toedit.command import build_config
from toedit.config import EditConfig
from toedit.diff_page import write_page
from toedit.diff_terminal import print_views
from toedit.document_views import load_views, sample_edits
from toedit.documents import read_documents, shard_paths
from toedit.edit_corpus import describe, draw, forget_edit, plan_edit, record_edit
from toedit.editing import Draws
from toedit.editors import EDITORS, Editor, find_editor, identity_of, may_change
from toedit.errors import BadConfiguration
from toedit.reverting import plan_revert
from toedit.scores import ShardScores
from toedit.splicing import DELETED, splice, unsplice
from toedit.stages import edit as edit_stage
from toedit.uniforms import ACCEPT, DRAW, PLACE, document_keys

K = 12
TOKENIZER = load_tokenizer()
V = TOKENIZER.vocabulary_size


def scored_shard(seed: int, tokens: int = 120, min_p: float = 0.0, vocabulary: int = V) -> ShardScores:
    """Three documents (the second empty) with lawful scores: sorted candidates of total mass below one, the original
    often but not always among them, and each document's first token unscored."""
    generator = np.random.default_rng(seed)
    token_offset_D1 = np.array([0, tokens // 3, tokens // 3, tokens])
    top_T = np.where(generator.random(tokens) < 0.6, 1 - 10.0 ** -generator.uniform(1, 5, tokens), 0.4)
    rest_TK = generator.dirichlet(np.full(K, 0.5), tokens)[:, 1:] * (1 - top_T)[:, None] * 0.9 + 1e-9
    mass_TK = -np.sort(-np.concatenate([top_T[:, None], rest_TK], axis=1), axis=1)
    logprob_TK = np.log(mass_TK).astype(np.float32)
    id_TK = np.stack([generator.permutation(vocabulary)[:K] for _ in range(tokens)]).astype(np.int32)
    which_T = np.where((top_T > 0.5) | (generator.random(tokens) < 0.3), 0, generator.integers(1, K, tokens))
    token_id_T = id_TK[np.arange(tokens), which_T]
    logprob_T = logprob_TK[np.arange(tokens), which_T].copy()
    rare_T = which_T == K - 1  # these stand for originals beyond the candidates
    token_id_T[rare_T], logprob_T[rare_T] = (id_TK[rare_T].max(axis=1) + 1) % vocabulary, -20.0
    logprob_T[[0, tokens // 3]] = np.nan
    token_N = np.flatnonzero(logprob_T >= (math.log(min_p) if min_p else -math.inf))
    return ShardScores(
        ids=["a", "empty", "b/é"],
        token_offset_D1=token_offset_D1,
        token_id_T=token_id_T,
        span_T2=np.zeros((tokens, 2), np.int32),
        logprob_T=logprob_T,
        candidate_offset_D1=np.searchsorted(token_N, token_offset_D1),
        candidate_position_N=(token_N - np.where(token_N < tokens // 3, 0, tokens // 3)).astype(np.int32),
        candidate_id_NK=id_TK[token_N],
        candidate_logprob_NK=logprob_TK[token_N],
    )


def scalar_tokens(scores: ShardScores, seed: int):
    """(index among the T tokens, id, log-probability, candidates, their log-probabilities, uniform by address)."""
    key_D2 = document_keys(seed, scores.ids)
    for n, (token, document) in enumerate(zip(scores.token_N.tolist(), scores.document_N.tolist(), strict=True)):
        key, position = tuple(key_D2[document].tolist()), int(scores.candidate_position_N[n])
        yield (
            token,
            int(scores.token_id_T[token]),
            float(scores.logprob_T[token]),
            scores.candidate_id_NK[n].tolist(),
            scores.candidate_logprob_NK[n].astype(float).tolist(),
            lambda purpose=DRAW, number=0, key=key, position=position: scalar.uniform(key, position, purpose, number),
        )


def outcome(draws: Draws) -> dict[int, int]:
    return dict(zip(draws.index_E.tolist(), draws.new_id_E.tolist(), strict=True))


def changes(draws: Draws) -> dict[int, int]:
    return dict(zip(draws.index_E[draws.changed_E].tolist(), draws.new_id_E[draws.changed_E].tolist(), strict=True))


def is_eligible(logprob: float, edit: EditConfig) -> bool:
    return logprob > math.log(edit.p) if edit.strict else logprob >= math.log(edit.p)


edits = st.builds(
    EditConfig,
    p=st.sampled_from([0.3, 0.9, 0.95, 0.99]),
    k=st.integers(2, K),
    temperature=st.sampled_from([0.3, 1.0, 1.5, 5.0]),
    strict=st.booleans(),
    seed=st.integers(0, 9),
    tries=st.sampled_from([1, 3, 40]),
)
seeds = st.integers(0, 2**32 - 1)


# --- against scalar transcriptions ------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=seeds, edit=edits, sampler=st.sampled_from(["top_k", "exclude_original", "rejection"]))
def test_resampling_equals_the_scalar_transcription(seed, edit, sampler):
    edit, scores = replace(edit, sampler=sampler), scored_shard(seed)
    expected, probability = {}, 0.0
    for token, old, logprob, candidates, logprobs, uniform in scalar_tokens(scores, edit.seed):
        if not is_eligible(logprob, edit):
            continue
        arguments = (old, candidates[: edit.k], logprobs[: edit.k])
        if sampler == "top_k":
            _, new, change = scalar.edit_token(
                old, logprob, candidates, logprobs, uniform(), edit.p, edit.k, edit.temperature, edit.strict
            )
        elif sampler == "exclude_original":
            new, change = scalar.another_token(*arguments, uniform(), edit.temperature)
        else:
            tries = ((uniform(DRAW, number), uniform(ACCEPT, number)) for number in range(edit.tries))
            new, change = scalar.reject(*arguments, tries, edit.tries, edit.temperature)
        expected[token] = new
        probability += change
    draws = draw(scores, TOKENIZER, edit)
    assert outcome(draws) == expected
    assert draws.expected_changed == pytest.approx(probability, abs=1e-9)
    assert (draws.changed_E == (draws.new_id_E != scores.token_id_T[draws.index_E])).all()


@settings(max_examples=40, deadline=None)
@given(seed=seeds, edit=edits, share=st.floats(0.1, 0.9))
def test_the_nucleus_equals_the_scalar_transcription(seed, edit, share):
    scores = scored_shard(seed)
    reached = min(
        (math.fsum(map(math.exp, row[4])) for row in scalar_tokens(scores, 0) if is_eligible(row[2], edit)), default=1
    )
    if reached <= edit.p + 1e-4:
        return
    edit = replace(edit, sampler="top_p", top_p=edit.p + (reached - edit.p) * share)
    expected, probability = {}, 0.0
    for token, old, logprob, candidates, logprobs, uniform in scalar_tokens(scores, edit.seed):
        if is_eligible(logprob, edit):
            size = scalar.nucleus(logprobs, edit.top_p)
            expected[token], change = scalar.draw_token(
                old, candidates[:size], logprobs[:size], uniform(), edit.temperature
            )
            probability += change
    draws = draw(scores, TOKENIZER, edit)
    assert outcome(draws) == expected
    assert draws.expected_changed == pytest.approx(probability, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    edit=edits,
    below=st.sampled_from([0.0, 1e-6, 0.01, 0.3]),
    above=st.sampled_from([0.5, 0.99, 1.0]),
    resamples=st.booleans(),
)
def test_deletion_equals_the_scalar_transcription(seed, edit, below, above, resamples):
    scores = scored_shard(seed, min_p=0.9 if resamples and edit.p >= 0.9 else 0.0)
    if resamples:
        edit, above = replace(edit, sampler="delete_then_resample", delete_below=below), 1.0
    else:
        assume(below > 0 or above < 1)
        edit = EditConfig(sampler="delete", delete_below=below, delete_above=above)
    expected = outcome(draw(scores, TOKENIZER, replace(edit, sampler="top_k"))) if resamples else {}
    for token, logprob in enumerate(scores.logprob_T.tolist()):
        if scalar.is_deleted(logprob, below, above):
            expected[token] = DELETED
    assert outcome(draw(scores, TOKENIZER, edit)) == expected
    assert (np.flatnonzero(may_change(scores.logprob_T, edit)) == sorted(expected)).all()


@settings(max_examples=25, deadline=None)
@given(seed=seeds, edit=edits)
def test_controls_equal_the_scalar_transcription(seed, edit):
    scores = scored_shard(seed)
    reference = changes(draw(scores, TOKENIZER, edit))
    rows = list(scalar_tokens(scores, edit.seed))
    ranks = {"random_positions": lambda row: row[5](PLACE), "low_probability": lambda row: row[2]}
    for sampler, rank in ranks.items():
        expected = {
            token: scalar.another_token(old, candidates[: edit.k], logprobs[: edit.k], uniform(), edit.temperature)[0]
            for token, old, _, candidates, logprobs, uniform in sorted(rows, key=rank)[: len(reference)]
        }
        draws = draw(scores, TOKENIZER, replace(edit, sampler=sampler))
        assert changes(draws) == expected and len(expected) == len(reference)
        assert draws.index_E.tolist() == [row[0] for row in rows]
    writable = [id for id, piece in enumerate(TOKENIZER.piece_bytes) if piece and is_text(piece)]
    expected = {
        token: scalar.other_word(old, writable, uniform(DRAW, 1))
        for token, old, *_, uniform in rows
        if token in reference
    }
    assert changes(draw(scores, TOKENIZER, replace(edit, sampler="random_replacement"))) == expected


def test_random_words_keep_to_what_text_can_carry():
    tokenizer = load_tokenizer("wordpiece")
    scores = scored_shard(8, tokens=3000, vocabulary=tokenizer.vocabulary_size)
    edit = EditConfig(sampler="random_replacement", p=0.3, temperature=50.0)
    replaced = changes(draw(scores, tokenizer, edit))
    assert len(replaced) > 1000
    for token, new in replaced.items():
        old = scores.token_id_T[token]
        assert new != old and tokenizer.piece_bytes[new]
        assert tokenizer.is_continuation[new] == tokenizer.is_continuation[old]
    for continues in (False, True):
        ids = [
            id for id, piece in enumerate(tokenizer.piece_bytes) if piece and tokenizer.is_continuation[id] == continues
        ]
        assert set(ids) == {new for new in replaced.values() if tokenizer.is_continuation[new] == continues}


def is_text(piece: bytes) -> bool:
    return piece.decode(errors="ignore").encode() == piece


# --- what each promises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [sampler for sampler in EDITORS if sampler != "none"])
def test_a_document_s_draws_do_not_depend_on_its_neighbours(sampler):
    """Except for the controls, whose number of changes is the shard's."""
    whole = scored_shard(5, tokens=300)
    edit = EditConfig(sampler=sampler, p=0.9, top_p=0.95, delete_below=0.01, temperature=3.0)
    first = ShardScores(
        ids=whole.ids[:1],
        token_offset_D1=whole.token_offset_D1[:2],
        token_id_T=whole.token_id_T[:100],
        span_T2=whole.span_T2[:100],
        logprob_T=whole.logprob_T[:100],
        candidate_offset_D1=whole.candidate_offset_D1[:2],
        candidate_position_N=whole.candidate_position_N[: whole.candidate_offset_D1[1]],
        candidate_id_NK=whole.candidate_id_NK[: whole.candidate_offset_D1[1]],
        candidate_logprob_NK=whole.candidate_logprob_NK[: whole.candidate_offset_D1[1]],
    )
    if EDITORS[sampler].every_position:
        counts = [len(changes(draw(scores, TOKENIZER, edit))) for scores in (whole, first)]
        paper = [len(changes(draw(scores, TOKENIZER, replace(edit, sampler="top_k")))) for scores in (whole, first)]
        assert counts == paper and paper[0] > paper[1] > 0
        return
    together = {index: new for index, new in outcome(draw(whole, TOKENIZER, edit)).items() if index < 100}
    assert outcome(draw(first, TOKENIZER, edit)) == together and together


def test_another_token_always_changes_and_keeps_the_others_odds():
    scores = scored_shard(1, tokens=6000)
    edit = EditConfig(sampler="exclude_original", p=0.9, k=4)
    draws = draw(scores, TOKENIZER, edit)
    assert draws.changed_E.all() and draws.expected_changed == len(draws.index_E) > 2000
    eligible_N = np.isin(scores.token_N, draws.index_E)
    mass_Nk = np.exp(scores.candidate_logprob_NK[eligible_N, 1:4].astype(float))
    first = (draws.new_id_E == scores.candidate_id_NK[eligible_N, 1]).sum()
    odds_N = mass_Nk[:, 0] / mass_Nk.sum(axis=1)
    assert abs(first - odds_N.sum()) < 5 * np.sqrt((odds_N * (1 - odds_N)).sum())


def test_rejection_with_tries_enough_has_the_law_of_top_k():
    scores = scored_shard(2)
    top = draw(scores, TOKENIZER, EditConfig(p=0.9, temperature=3.0))
    few, many = (EditConfig(sampler="rejection", p=0.9, temperature=3.0, tries=tries) for tries in (1, 2000))
    assert draw(scores, TOKENIZER, many).expected_changed == pytest.approx(top.expected_changed, rel=1e-6)
    assert draw(scores, TOKENIZER, few).expected_changed < 0.9 * top.expected_changed
    large = scored_shard(3, tokens=6000)
    draws = draw(large, TOKENIZER, many)
    assert abs(draws.changed_E.sum() - draws.expected_changed) < 5 * draws.expected_changed**0.5


def test_a_nucleus_of_one_changes_nothing_and_a_wide_one_is_refused():
    scores = scored_shard(4, min_p=0.9)
    barely = draw(scores, TOKENIZER, EditConfig(sampler="top_p", p=0.9, top_p=0.9000001))
    sure = scores.logprob_T[barely.index_E] >= math.log(0.9000001)
    assert not barely.changed_E[sure].any()
    with pytest.raises(BadConfiguration, match=r"edit\.top_p=0\.99999.* token \d+ of document .*score\.top_k=24"):
        draw(scores, TOKENIZER, EditConfig(sampler="top_p", p=0.9, top_p=0.99999))


def test_unscored_tokens_are_never_edited():
    scores = scored_shard(6)
    unscored = set(np.flatnonzero(np.isnan(scores.logprob_T)).tolist())
    assert len(unscored) == 2
    for sampler in EDITORS:
        edit = EditConfig(sampler=sampler, p=0.3, top_p=0.4, delete_below=0.3, delete_above=0.3, temperature=9.0)
        assert not unscored & outcome(draw(scores, TOKENIZER, edit)).keys(), sampler


# --- deletions in text ------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=40) | st.sampled_from(["the cat sat", "🙂日本 é"]), seed=seeds, rate=st.floats(0, 1))
def test_deleting_takes_out_whole_characters_and_is_undone_exactly(text, seed, rate):
    for family in ("byte_level", "wordpiece"):
        tokenizer, generator = load_tokenizer(family), np.random.default_rng(seed)
        document = tokenizer.encode([text])[0]
        position_C = np.flatnonzero(generator.random(len(document.token_ids_T)) < rate)
        deleted_C = np.full(len(position_C), DELETED)
        spliced = splice(text.encode(), document.span_T2, document.token_ids_T, position_C, deleted_C, tokenizer)
        assert len(spliced.rows) + spliced.unspliceable == len(position_C) and bool(spliced.text) == bool(text)
        assert spliced.written_C.sum() == len(spliced.rows)
        assert all(row.new_id == DELETED and row.new_text == "" and row.old_text for row in spliced.rows)
        spliced.text.decode()
        assert len(spliced.text) == len(text.encode()) - sum(row.end - row.start for row in spliced.rows)
        assert unsplice(spliced.text, spliced.rows) == text.encode()


def test_a_document_that_would_vanish_keeps_its_last_token():
    tokenizer = load_tokenizer()
    document = tokenizer.encode(["the cat"])[0]
    count = len(document.token_ids_T)
    everything = np.arange(count), np.full(count, DELETED)
    spliced = splice(b"the cat", document.span_T2, document.token_ids_T, *everything, tokenizer)
    assert b"the cat".endswith(spliced.text) and spliced.text and spliced.unspliceable == 1
    assert spliced.written_C.tolist() == [True] * (count - 1) + [False]


def test_deletions_are_shown_and_reverted(tmp_path, capsys):
    texts = ["the cat sat on the mat, and the dog sat on the cat\n" * 3, "x", "a <b>bold</b> claim 🙂"]
    edited = build_edited(tmp_path, texts, edit=EditConfig(sampler="delete", delete_below=0.5))
    ledger = [row for path in sorted((edited.path / "edits").glob("*")) for row in pq.read_table(path).to_pylist()]
    assert len(ledger) == edited.manifest()["counts"]["changed"] > 5
    assert all(row["new_id"] == DELETED and row["new_text"] == "" and row["new_logprob"] is None for row in ledger)
    assert all(row["old_logprob"] < math.log(0.5) for row in ledger)
    views = load_views(edited.path, [], 3)
    print_views(views, 4000)
    printed = capsys.readouterr().out
    assert printed.count("[-") == len(ledger) and "{+" not in printed
    assert [view.text for view in sorted(views, key=lambda view: view.id)] == texts
    assert all(math.isnan(sample.new_logprob) for sample in sample_edits(edited.path, 3))
    write_page(tmp_path / "page.html", edited.manifest(), views)
    page = (tmp_path / "page.html").read_text()
    assert ", deleted #" in page and "delete P &lt; 0.5" in page
    assert texts_of(plan_revert(edited, tmp_path).ensure()) == texts


def texts_of(folder: Path) -> list[str]:
    return [document["text"] for path in shard_paths(folder) for document in read_documents(path)]


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"sampler": "top-k"}, ["edit.sampler=top-k", "did you mean top_k?", "random_positions"]),
        ({"sampler": "zzz"}, ["edit.sampler=zzz: no such editor; there are top_k"]),
        ({"top_p": 0.9}, ["edit.top_p=0.9", "top_k does not read it"]),
        ({"sampler": "delete", "delete_below": 0.1, "k": 4}, ["edit.k=4", "edit.delete_below, edit.delete_above"]),
        ({"sampler": "delete_then_resample", "delete_above": 0.9}, ["edit.delete_above=0.9"]),
        ({"sampler": "delete"}, ["edit.sampler=delete", "edit.delete_below"]),
        ({"sampler": "delete_then_resample", "delete_below": 0.995}, ["edit.delete_below=0.995", "edit.p"]),
        ({"sampler": "top_p", "top_p": 0.99}, ["edit.top_p=0.99", "edit.p=0.99", "the token itself"]),
        ({"sampler": "top_p", "top_p": 1.0}, ["edit.top_p=1"]),
        ({"sampler": "exclude_original", "k": 1}, ["edit.k=1", "at least 2"]),
        ({"sampler": "rejection", "tries": 0}, ["edit.tries=0"]),
        ({"sampler": "random_positions"}, ["edit.sampler=random_positions", "score.min_p=0"]),
        ({"sampler": "low_probability"}, ["edit.sampler=low_probability", "score.min_p=0"]),
        ({"sampler": "rejection", "k": 5}, ["edit.k=5", "score.top_k=5"]),
        ({"sampler": "random_replacement", "p": 0.5}, ["edit.p=0.5", "score.min_p=0.5"]),
    ],
)
def test_settings_that_cannot_work_are_one_line(values, parts, tmp_path):
    with pytest.raises(BadConfiguration) as refused:
        plan_edit(build_scores(tmp_path, ["the cat"]), EditConfig(**{"k": CANDIDATES} | values), tmp_path)
    message = str(refused.value)
    assert "\n" not in message and all(part in message for part in parts), message


def test_identities_and_addresses():
    """What the paper's and the released script's edits are must not change when editors are added."""
    base = {"sampler": "top_k", "p": 0.99, "strict": False, "k": 8, "temperature": 1.0, "seed": 0}
    assert identity_of(EditConfig(), EDITORS["top_k"]) == base
    assert identity_of(EditConfig(sampler="none"), EDITORS["none"]) == base | {"sampler": "none"}
    deleting = EditConfig(sampler="delete", delete_below=0.001)
    assert set(identity_of(deleting, EDITORS["delete"])) == {"sampler", "delete_below", "delete_above"}
    assert describe(EditConfig(strict=True, temperature=1.5, seed=3)) == "p0.99-k8-t1.5-strict-seed3"
    assert describe(deleting) == describe(replace(deleting, seed=3)) == "delete-below0.001"
    assert describe(EditConfig(sampler="top_p")) == "top_p-p0.99-mass0.999"
    assert describe(EditConfig(sampler="rejection", tries=9)) == "rejection-p0.99-k8-tries9"
    assert describe(EditConfig(sampler="delete_then_resample", delete_below=0.1)) == (
        "delete_then_resample-below0.1-p0.99-k8"
    )


MODULE = """
import numpy as np
from toedit.editing import Draws
from toedit.editors import Editor

def shout(scores, tokenizer, edit):
    index_E = np.flatnonzero(scores.logprob_T < np.log(edit.delete_below))
    new_id_E = np.full(len(index_E), tokenizer.piece_bytes.index(b"!"))
    if edit.delete_below > 0.5:
        index_E = index_E[::-1]
    return Draws(index_E, new_id_E, np.full(len(index_E), np.nan), np.ones(len(index_E), bool), float(len(index_E)))

shouting = Editor(shout, keys=("delete_below",))
misspelt = Editor(shout, keys=("delete_blow",))
"""


def test_an_installed_package_adds_an_editor(tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "shouting-1.5.dist-info"
    info.mkdir(parents=True)
    (site / "shouting_editor.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.5\n")
    names = {"shouting": "shouting", "misspelt": "misspelt", "absent": "absent", "no_editor": "shout"}
    lines = [f"{name} = shouting_editor:{attribute}" for name, attribute in names.items()]
    (info / "entry_points.txt").write_text("\n".join(["[toedit.editors]", *lines]))
    monkeypatch.syspath_prepend(str(site))
    try:
        editor = find_editor("shouting")
        assert isinstance(editor, Editor) and editor.package == "shouting 1.5"
        edit = EditConfig(sampler="shouting", delete_below=0.3)
        edited = build_edited(tmp_path, ["the cat sat on the mat\n" * 4], edit=edit)
        assert "!" in texts_of(edited.ensure())[0]
        assert edited.manifest()["identity"] == {"sampler": "shouting", "delete_below": 0.3, "package": "shouting 1.5"}
        assert edited.path.name.startswith("fixture.random.shouting-below0.3--")
        write_page(tmp_path / "page.html", edited.manifest(), load_views(edited.path, [], 1))
        refused = {
            "shoutin": "did you mean shouting?.* top_k, .*absent, misspelt, no_editor, shouting",
            "misspelt": r"shouting 1\.5 reads edit\.delete_blow, and there is no such key",
            "absent": r"shouting_editor:absent of shouting 1\.5 cannot be loaded \(AttributeError",
            "no_editor": r"is no toedit\.editors\.Editor",
        }
        for name, message in refused.items():
            with pytest.raises(BadConfiguration, match=f"edit.sampler={name}: .*{message}"):
                find_editor(name)
        with pytest.raises(BadConfiguration, match="must increase strictly"):
            draw(scored_shard(0), TOKENIZER, replace(edit, delete_below=0.6))
    finally:
        sys.modules.pop("shouting_editor", None)


def test_the_documented_editor_works_and_the_page_names_all():
    page = (REPOSITORY / "docs" / "editors.md").read_text()
    namespace: dict = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], namespace)
    scores, edit = scored_shard(7), EditConfig(p=0.95)
    assert set(outcome(namespace["my_editor"].draw(scores, TOKENIZER, edit)).values()) == {DELETED}
    for name in [*EDITORS, *PRESETS]:
        assert f"`{name}`" in page, name


# --- every preset, end to end -----------------------------------------------------------------------------------------

PRESETS = sorted(path.stem for path in (REPOSITORY / "configs" / "edit").glob("*.yaml"))


def compose(*overrides: str) -> toedit.config.Config:
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    ConfigStore.instance().store(name="schema", node=toedit.config.Config)
    with initialize_config_dir(str(REPOSITORY / "configs"), version_base="1.3"):
        return build_config(OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True))


def test_every_preset_says_what_it_is():
    for preset in PRESETS:
        first, *lines = (REPOSITORY / "configs" / "edit" / f"{preset}.yaml").read_text().splitlines()
        assert first.startswith("# ") and (f"name: {preset}" in lines), preset
    assert {find_editor(compose(f"edit={preset}").edit.sampler) for preset in PRESETS} == set(EDITORS.values())
    for editor in EDITORS.values():
        assert set(editor.keys) <= {field.name for field in fields(EditConfig)}


def test_all_presets_edit_and_revert_a_real_corpus(corpus_file, small_prior, tmp_path, capsys):
    """One pass of the prior serves them all."""
    shared = [
        "corpus=local", f"corpus.path={corpus_file}", "corpus.shard_bytes=6000", "prior=local",
        f"prior.path={small_prior}", f"artifacts={tmp_path}", "score.min_p=0", "score.top_k=400",
    ]  # fmt: skip
    originals, changed, ledgers = None, {}, {}
    for preset in PRESETS:
        plain = compose(f"edit={preset}").edit
        lively = {"p": 0.9, "temperature": 3, "top_p": 0.9999} | ({"delete_below": 0.3} if plain.delete_below else {})
        overrides = [f"edit.{key}={value}" for key, value in lively.items() if key in EDITORS[plain.sampler].keys]
        config = compose(*shared, f"edit={preset}", *overrides)
        artifact = edit_stage.plan(config)
        edited = artifact.ensure()
        row = edit_stage.report(config, artifact)
        assert set(row) == {"p", "k", "temperature", "eligible", "expected changed", "changed"}
        originals = originals or texts_of(artifact.inputs["corpus"].path)
        assert texts_of(plan_revert(artifact, tmp_path).ensure()) == originals, preset
        counts = artifact.manifest()["counts"]
        rows = [row for path in (edited / "edits").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
        ledgers[preset] = {(row["id"], row["position"]) for row in rows}
        assert len(ledgers[preset]) == len(rows) == counts["changed"] <= counts["eligible"] <= counts["tokens"]
        changed[preset] = counts["changed"] + counts["unspliceable"]
        wanted = counts["expected_changed"]
        assert abs(changed[preset] - wanted) <= 6 * wanted**0.5, preset
    assert changed["none"] == 0 and min(count for preset, count in changed.items() if preset != "none") > 10, changed
    for control in ("control_random_positions", "control_random_replacement", "control_low_probability"):
        assert changed[control] == changed["paper"]
    paper, replaced = (ledgers[preset] for preset in ("paper", "control_random_replacement"))
    assert len(paper & replaced) > 0.8 * changed["paper"]
    assert "delete P < 0.3" in capsys.readouterr().out


anything = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["", "abc", "not_an_edit"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tokens", "toedit", "toedit_history", "not_an_edit"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    metadata=st.dictionaries(st.sampled_from(["toedit", "toedit_history", "other"]), anything), edits=st.integers(1, 3)
)
def test_notes_of_edits_come_off_again_whatever_stood_in_their_place(metadata, edits):
    document = {"id": "a", "text": "b", "metadata": dict(metadata)}
    for number in range(edits):
        record_edit(document, tokens=5, eligible=3, changed=number)
        assert document["metadata"]["toedit"] == {"tokens": 5, "eligible": 3, "changed": number}
    assert document["metadata"].get("other") == metadata.get("other")
    for _ in range(edits):
        forget_edit(document)
    assert document["metadata"] == metadata


def test_the_history_of_edits_is_a_plain_list():
    document = {"id": "a", "text": "b"}
    for number in range(3):
        record_edit(document, tokens=5, eligible=3, changed=number)
    assert [note["changed"] for note in document["metadata"]["toedit_history"]] == [0, 1]
