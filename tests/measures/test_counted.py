"""The counted baseline reads what the run reads and is asked what the model is asked."""

from dataclasses import replace

import numpy as np
import pytest

from revlm.data.streams import IGNORE
from revlm.data.tokens import num_ids
from revlm.direction import Direction
from revlm.measures import counted
from revlm.statistics.kneser_ney import KneserNey
from tests.data.test_streams import eval_stream, train_stream, windows_of


@pytest.fixture
def validations(store, layout):
    return [eval_stream(store, layout, direction, max_tokens=3_000) for direction in Direction]


def counted_on(batches, layout):
    """Bodies of the windows of some batches, each as forward reads it."""
    forward = Direction.FORWARD.number
    return [
        np.array(body if direction == forward else body[::-1])
        for batch in batches
        for _, direction, body in windows_of(batch, layout)
    ]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("steps", [5, 10_000])
def test_it_counts_the_windows_that_the_first_pass_reads(
    store, layout, validations, tokenizer, packed, steps
):
    """The run's own batches, each window turned to the direction in question; a second pass counts nothing again."""
    layout = replace(layout, packed=packed)
    train = train_stream(store, layout, steps=steps)
    read = counted_on((train[k] for k in range(min(steps, train.steps_per_epoch))), layout)
    found = counted.counted_losses(train, validations, num_ids(tokenizer))
    for stream in validations:
        turn = slice(None) if stream.direction is Direction.FORWARD else slice(None, None, -1)
        model = KneserNey([ids[turn] for ids in read], vocab_size=num_ids(tokenizer))
        targets = [batch["labels"][batch["labels"] != IGNORE] for batch in stream]
        bodies = [np.array(body) for batch in stream for _, _, body in windows_of(batch, layout)]
        losses = model.nll(bodies)
        assert len(losses[4]) == sum(map(len, targets))
        for order, loss in found[stream.direction].items():
            assert loss == pytest.approx(losses[int(order)].mean(), abs=1e-9)


def test_the_share_of_a_direction_does_not_matter(store, layout, validations, tokenizer):
    """Over a whole pass a forward run and a mixed one read the same text, so counting reaches the same."""
    layout = replace(layout, packed=False)
    steps = len(train_stream(store, layout, batch=1).windows)
    found = [
        counted.counted_losses(
            train_stream(store, layout, ratio=ratio, steps=steps, batch=1), validations, num_ids(tokenizer)
        )
        for ratio in (0.0, 0.5)
    ]
    for direction in Direction:
        assert found[0][direction] == pytest.approx(found[1][direction], abs=1e-9)


def test_ranks_and_their_number_change_nothing(store, layout, validations, tokenizer):
    """Rank 1 of 2 counts what a single process counts, though it trains on half of it."""
    alone = counted.counted_losses(train_stream(store, layout), validations, num_ids(tokenizer))
    sharded = [
        eval_stream(store, layout, direction, max_tokens=3_000, rank=1, world=2) for direction in Direction
    ]
    train = train_stream(store, layout, rank=1, world=2)
    assert counted.counted_losses(train, sharded, num_ids(tokenizer)) == alone


def test_more_text_than_counting_is_made_for_is_not_counted(
    monkeypatch, store, layout, validations, tokenizer
):
    """The limit speaks of what the run reads, not of its corpus."""
    monkeypatch.setattr(counted, "MAX_TOKENS", 3_000)
    short, long = (train_stream(store, layout, steps=steps) for steps in (5, 10))
    assert counted.counted_losses(short, validations, num_ids(tokenizer)) is not None
    assert counted.counted_losses(long, validations, num_ids(tokenizer)) is None
