"""From ids to rows: the laws that the numbers rest on."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revlm.data.order import document_hashes, interleave, keyed_hash, reversed_documents
from revlm.data.streams import IGNORE, EvalStream, Share, TrainStream
from revlm.data.windows import cut_windows, pack
from revlm.direction import Direction
from revlm.errors import UserError


def train_stream(store, layout, *, ratio=0.5, seed=0, steps=40, batch=8, micro=None, rank=0, world=1):
    share = Share(batch, micro or batch // world, rank, world)
    return TrainStream(store, layout, reverse_ratio=ratio, seed=seed, num_steps=steps, share=share)


def eval_stream(store, layout, direction, *, max_tokens=None, batch_size=8, rank=0, world=1):
    return EvalStream(
        store,
        layout,
        direction=direction,
        batch_size=batch_size,
        max_tokens=max_tokens,
        rank=rank,
        world=world,
    )


def windows_of(batch, layout):
    """(document, direction, body ids in reading order) of every window of a batch, read off its tensors."""
    found = []
    for r in range(len(batch["input_ids"])):
        starts = (batch["position_ids"][r] == 0) & (batch["doc_id"][r] >= 0)
        for s in torch.nonzero(starts).flatten().tolist():
            end = s + 1
            while end < layout.row_length and batch["position_ids"][r, end] > 0:
                end += 1
            body = batch["input_ids"][r, s + layout.prefix : end].tolist()
            found.append((int(batch["doc_id"][r, s]), int(batch["direction"][r]), tuple(body)))
    return found


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("window", [7, 64])
def test_both_directions_score_the_same_tokens(store, layout, packed, window):
    """Windows are cut before they are oriented: reverse windows are forward windows backwards."""
    layout = replace(layout, packed=packed, window=window)
    seen = {}
    for direction in Direction:
        stream = eval_stream(store, layout, direction)
        seen[direction] = [w for batch in stream for w in windows_of(batch, layout)]
    forward = Counter((doc, body) for doc, _, body in seen[Direction.FORWARD])
    reverse = Counter((doc, body[::-1]) for doc, _, body in seen[Direction.REVERSE])
    assert forward == reverse
    tokens = Counter(t for (_, body), n in forward.items() for t in body * n)
    held_out = np.flatnonzero(store.held_out)
    assert tokens == Counter(int(t) for d in held_out for t in store.document(d))


def test_labels_are_the_body_and_nothing_else(store, layout):
    """BOS, padding and the first token of a neighbour are never predicted; every body token is."""
    batch = train_stream(store, layout)[0]
    body = (batch["position_ids"] > 0) & (batch["doc_id"] >= 0)
    assert torch.equal(batch["labels"] != IGNORE, body)
    assert torch.equal(batch["labels"][body], batch["input_ids"][body])


def test_no_padding_stands_before_a_real_token(store, layout):
    """A row is BOS + window (+ BOS + window ...) + padding, in this order only."""
    for packed in (True, False):
        stream = train_stream(store, replace(layout, packed=packed))
        for batch in (stream[k] for k in range(10)):
            padding = batch["doc_id"] < 0
            assert not (padding[:, :-1] & ~padding[:, 1:]).any()
            assert (batch["input_ids"][padding] == layout.pad).all()
            assert (batch["input_ids"][:, 0] == layout.bos).all()


def test_a_reverse_row_is_bos_and_the_window_backwards(store, layout):
    """Reverse rows begin with BOS, then the window's last token."""
    for doc, direction, body in windows_of(train_stream(store, layout, ratio=1.0)[0], layout):
        ids = store.document(doc).tolist()
        assert direction == Direction.REVERSE.number
        pieces = [tuple(ids[s : s + layout.window][::-1]) for s in range(0, len(ids), layout.window)]
        assert body in pieces


def test_an_epoch_reads_every_document_in_one_direction(store, layout):
    """A document is forward or reverse as a whole, once an epoch; the next epoch draws anew."""
    stream = train_stream(store, layout)
    directions = []
    for epoch in (0, 1):
        plan = stream.plan(epoch)
        chosen = {}
        items = []
        for direction, row in (plan[r] for r in range(len(plan.rows))):
            items += row.tolist()
            for item in row:
                chosen.setdefault(int(stream.windows.doc[item]), set()).add(direction)
        assert sorted(items) == list(range(len(stream.windows)))
        assert {len(d) for d in chosen.values()} == {1}
        directions.append({doc: next(iter(d)) for doc, d in chosen.items()})
    changed = np.mean([directions[0][doc] != directions[1][doc] for doc in directions[0]])
    assert 0.3 < changed < 0.7


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_every_batch_is_balanced_until_the_epoch_runs_out(store, layout, ratio):
    """Batches hold exactly their share of reverse rows, but for the last ones of an epoch."""
    stream = train_stream(store, layout, ratio=ratio)
    counts = [
        sum(d is Direction.REVERSE for d, _ in stream.step_rows(step))
        for step in range(stream.steps_per_epoch)
    ]
    longest = store.lengths[~store.held_out].max() // layout.window + 1
    unbalanced = int(longest / min(ratio, 1 - ratio) / 8) + 2
    assert set(counts[:-unbalanced]) == {round(8 * ratio)}
    assert len(counts) > 2 * unbalanced


def test_reversed_tokens_make_up_the_ratio(store):
    """The share of reversed tokens is right to within one document, for every epoch."""
    for epoch in range(5):
        chosen = reversed_documents(store.hashes, store.lengths, ratio=0.3, seed=1, epoch=epoch)
        off = abs(store.lengths[chosen].sum() - 0.3 * store.lengths.sum())
        assert off <= store.lengths.max()


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("micro", [1, 2])
def test_ranks_and_accumulation_change_nothing(store, layout, world, micro):
    """The same documents in the same directions for 1, 2 and 4 ranks and any micro-batch."""
    whole = train_stream(store, layout)
    parts = [train_stream(store, layout, micro=micro, rank=rank, world=world) for rank in range(world)]
    for step in (0, 1, whole.steps_per_epoch + 1):
        expected = Counter(windows_of(whole[step], layout))
        got = Counter()
        targets = set()
        for part in parts:
            for k in range(part.share.accumulate):
                batch = part[step * part.share.accumulate + k]
                got += Counter(windows_of(batch, layout))
                targets.add(int(batch["step_targets"]))
        assert got == expected
        assert targets == {sum(len(body) * n for (_, _, body), n in expected.items())}


@pytest.mark.parametrize("workers", [0, 4])
def test_workers_change_nothing(store, layout, workers):
    """Batches come in the same order, alike to the bit, with 0 and 4 workers."""
    from torch.utils.data import DataLoader

    stream = train_stream(store, layout, steps=12)
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    for k, batch in enumerate(loader):
        assert torch.equal(batch["input_ids"], stream[k]["input_ids"])


def test_order_depends_on_seed_and_epoch_only(store, layout):
    """Two streams agree; another seed or epoch gives another order."""
    one, same, other = (train_stream(store, layout, seed=s) for s in (0, 0, 1))

    def order(stream, epoch):
        plan = stream.plan(epoch)
        return plan.rows.items.tolist(), plan.reverse.tolist()

    assert order(one, 3) == order(same, 3)
    assert order(one, 0) != order(other, 0)
    assert order(one, 0) != order(one, 1)


def test_order_is_plain_integer_arithmetic():
    """Hashes equal SplitMix64 written with Python's integers, so they hold on every machine."""

    def mix(value):
        z = (value + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    values = [0, 1, 2**63 + 5, 2**64 - 1]
    expected = [mix(mix(v ^ mix(7)) ^ mix(1)) for v in values]
    assert keyed_hash(np.array(values, dtype=np.uint64), 7, 1).tolist() == expected


def test_direction_of_a_document_depends_on_its_id_not_its_place(store):
    """Shuffling the corpus shuffles the decisions along."""
    order = np.random.default_rng(0).permutation(len(store))
    straight = reversed_documents(store.hashes, store.lengths, ratio=0.5, seed=0, epoch=0)
    shuffled = reversed_documents(store.hashes[order], store.lengths[order], ratio=0.5, seed=0, epoch=0)
    assert (shuffled == straight[order]).all()


@settings(max_examples=50)
@given(st.lists(st.integers(1, 20), max_size=60))
def test_packing_loses_nothing_and_overfills_nothing(sizes):
    """Every item is in one row, and no row is over its capacity."""
    row_of = pack(np.array(sizes, dtype=np.int64), 20)
    filled = np.bincount(row_of, weights=sizes) if sizes else np.zeros(0)
    assert len(row_of) == len(sizes)
    assert (filled <= 20).all()
    assert (filled > 0).all()
    assert len(filled) <= 1.25 * -(-sum(sizes) // 20) + 1


def test_best_fit_fills_the_fullest_row_that_has_room():
    """Largest first, each into the row where it leaves the least room."""
    assert pack(np.array([3, 7, 5, 6, 4]), 10).tolist() == [0, 0, 2, 1, 1]


def test_packed_rows_are_full(store, layout):
    """Best fit wastes less than two per cent of a real corpus's rows."""
    stream = train_stream(store, layout)
    rows = stream.plan(0).rows
    used = (stream.windows.length + layout.prefix).sum()
    assert used / (len(rows) * layout.row_length) > 0.98


def test_windows_hold_every_token_once(store):
    """Windows tile their documents."""
    docs = np.arange(len(store))
    windows = cut_windows(store, docs, 64)
    assert windows.length.sum() == store.lengths.sum()
    assert windows.length.max() <= 64
    assert windows.length.min() >= 1
    assert (windows.start % 64 == 0).all()


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_interleaving_is_a_permutation(forward, reverse, ratio):
    """Rows are neither lost nor doubled."""
    assert sorted(interleave(forward, reverse, ratio).tolist()) == list(range(forward + reverse))


def test_a_documents_hash_follows_from_its_id_alone():
    """These bits decide directions, subsets and selections: another value would change every run."""
    expected = [0x2F42665B399EF840, 0x55EAED5227B46DA7]
    assert document_hashes(["a", "b:1ü"]).tolist() == expected
    assert document_hashes([]).tolist() == []


def test_train_and_validation_share_no_document(store, layout):
    """The split comes before directions: nothing of a held-out document is trained on."""
    trained = {int(d) for d in train_stream(store, layout).windows.doc}
    held_out = {int(d) for d in eval_stream(store, layout, Direction.FORWARD).windows.doc}
    assert trained.isdisjoint(held_out)
    assert trained | held_out == set(range(len(store)))


def test_validation_is_the_same_for_any_number_of_ranks(store, layout):
    """Ranks share out the batches, none is scored twice."""
    whole = Counter(w for b in eval_stream(store, layout, Direction.REVERSE) for w in windows_of(b, layout))
    parts = [eval_stream(store, layout, Direction.REVERSE, rank=r, world=3) for r in range(3)]
    shared = Counter(w for part in parts for b in part for w in windows_of(b, layout))
    assert shared == whole
    assert len({len(part) for part in parts}) == 1


def test_max_val_tokens_keeps_whole_documents(store, layout):
    """Validation stops at the budget, to within a document."""
    stream = eval_stream(store, layout, Direction.FORWARD, max_tokens=500)
    docs = np.unique(stream.windows.doc)
    assert store.lengths[docs].sum() == stream.windows.length.sum()
    assert 500 <= stream.windows.length.sum() < 500 + store.lengths.max()


def test_tags_stand_behind_bos_and_are_not_predicted(store, layout):
    """With tags a row is BOS + tag + window, and positions of the body shift by one."""
    layout = replace(layout, tags={Direction.FORWARD: 2, Direction.REVERSE: 3})
    batch = train_stream(store, layout)[0]
    starts = (batch["position_ids"] == 1) & (batch["doc_id"] >= 0)
    expected = 2 + batch["direction"][:, None].expand_as(starts)
    assert torch.equal(batch["input_ids"][starts], expected[starts])
    assert (batch["labels"][starts] == IGNORE).all()


def test_a_corpus_smaller_than_a_batch_is_refused(store, layout):
    """The message says how many rows there are."""
    with pytest.raises(UserError, match=r"fills \d+ rows of 65 tokens, fewer than one batch"):
        train_stream(store, layout, batch=100_000)
