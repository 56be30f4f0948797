"""Windows score every token once with enough context; batches lose none."""

from hypothesis import given
from hypothesis import strategies as st

from toedit.windows import batches, windows


@given(tokens=st.integers(0, 400), capacity=st.integers(2, 60), data=st.data(), scores_first=st.booleans())
def test_every_token_is_scored_once_with_enough_context(tokens, capacity, data, scores_first):
    min_context = data.draw(st.integers(1, capacity - 1))
    laid = windows(tokens, capacity, min_context, scores_first)
    scored = [position for window in laid for position in range(window.first_scored, window.stop)]
    assert scored == list(range(0 if scores_first else 1, tokens))
    for window in laid:
        assert 0 < window.stop - window.start <= capacity
        assert window.start == 0 or window.first_scored - window.start >= min_context


@given(lengths=st.lists(st.integers(1, 50), max_size=60), batch_tokens=st.integers(1, 200))
def test_batches_hold_everything_within_the_budget(lengths, batch_tokens):
    made = list(batches(lengths, batch_tokens))
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= batch_tokens
