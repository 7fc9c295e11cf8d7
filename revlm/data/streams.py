"""Token ids to rows: windows cut before they are oriented, packed, balanced and ordered.

Everything here is a pure function of (store, options, seed, step). No state is carried from one
batch to the next, so a run resumes by starting at another step, and neither the number of ranks
nor of workers can change what a step trains on.

    document   a b c d e f g        window of 4 -> [a b c d] [e f g]
    forward    BOS a b c d | BOS e f g
    reverse    BOS d c b a | BOS g f e
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from revlm.data.layout import Layout
from revlm.data.order import interleave, keyed_hash, mix64, reversed_documents
from revlm.data.tokens import TokenIds, TokenStore
from revlm.data.windows import Rows, Windows, cut_windows, pack
from revlm.direction import Direction, IntArray
from revlm.errors import UserError

# transformers' label for what is not a target.
IGNORE = -100


class Batch(TypedDict):
    """Rows of tokens, ready for a model.

    input_ids, position_ids, doc_id: (B, T) int64; positions restart at each window's BOS, and so
    position i of a label counts the body tokens already read; doc_id is -1 on padding.
    labels: (B, T) int64 in transformers' convention: labels[t] is predicted from t - 1 and before;
    IGNORE on BOS, tags and padding.
    first: (B, T) bool, the window begins (in text order) its document.
    direction: (B,) int64, `Direction.number` of each row.
    step_targets: () int64, targets of the whole optimiser step, over all ranks and micro-batches.
    """

    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor
    doc_id: Tensor
    first: Tensor
    direction: Tensor
    step_targets: Tensor


class RowBuilder:
    """Writes windows into rows of tensors."""

    def __init__(self, store: TokenIds, windows: Windows, layout: Layout) -> None:
        self.store, self.windows, self.layout = store, windows, layout

    def pack(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The number of each window's row: several windows a row, or one, as the layout says."""
        if not self.layout.packed:
            return np.arange(len(items))
        return pack(self.windows.length[items] + self.layout.prefix, self.layout.row_length)

    def batch(self, rows: Sequence[tuple[Direction, Iterable[int]]], step_targets: int) -> Batch:
        """Rows of window numbers, each read in one direction, as a batch of B = len(rows)."""
        shape = (len(rows), self.layout.row_length)
        input_ids = np.full(shape, self.layout.pad, dtype=np.int64)
        labels = np.full(shape, IGNORE, dtype=np.int64)
        # A padding token is a document of its own: it sees itself and nothing sees it.
        position_ids = np.zeros(shape, dtype=np.int64)
        doc_id = np.full(shape, -1, dtype=np.int64)
        first = np.zeros(shape, dtype=np.bool_)
        for r, (direction, items) in enumerate(rows):
            at = 0
            for item in items:
                head = self.layout.head(direction)
                body = self.body(item, direction)
                body_at, end = at + len(head), at + len(head) + len(body)
                input_ids[r, at:body_at] = head
                input_ids[r, body_at:end] = body
                labels[r, body_at:end] = body
                position_ids[r, at:end] = np.arange(end - at)
                doc_id[r, at:end] = self.windows.doc[item]
                first[r, at:end] = self.windows.start[item] == 0
                at = end
        return Batch(
            input_ids=torch.from_numpy(input_ids),
            labels=torch.from_numpy(labels),
            position_ids=torch.from_numpy(position_ids),
            doc_id=torch.from_numpy(doc_id),
            first=torch.from_numpy(first),
            direction=torch.tensor([direction.number for direction, _ in rows]),
            step_targets=torch.tensor(step_targets),
        )

    def body(self, item: int, direction: Direction) -> IntArray:
        """(n,) ids of a window as a direction reads them, without what stands before them."""
        start = self.windows.start[item]
        window = self.store.document(self.windows.doc[item])[start : start + self.windows.length[item]]
        return self.layout.orient(window, direction)


@dataclass(frozen=True)
class Share:
    """A rank's part of each step: `batch_size` rows over `world` ranks in micro-batches."""

    batch_size: int
    micro_batch_size: int
    rank: int = 0
    world: int = 1

    @property
    def accumulate(self) -> int:
        """Micro-batches of one rank in a step."""
        return self.batch_size // (self.micro_batch_size * self.world)


@dataclass(frozen=True)
class Plan:
    """An epoch's rows in order, and which of them are read in reverse."""

    rows: Rows
    reverse: npt.NDArray[np.bool_]

    def __getitem__(self, row: int) -> tuple[Direction, npt.NDArray[np.int64]]:
        """Direction and window numbers of a row."""
        return (Direction.REVERSE if self.reverse[row] else Direction.FORWARD), self.rows[row]


class TrainStream(Dataset):
    """The whole run as one sequence of micro-batches, of which this rank's k-th can be asked for.

    Each pass over the training documents (an epoch) draws directions and order anew, from hashes
    of (seed, doc_id, epoch). The few rows that do not fill a last batch wait for another epoch.
    """

    def __init__(
        self,
        store: TokenStore,
        layout: Layout,
        *,
        reverse_ratio: float,
        seed: int,
        num_steps: int,
        share: Share,
    ) -> None:
        """Cut the training documents.

        Raises:
            UserError: the training split does not fill one batch.
        """
        self.store, self.layout, self.share = store, layout, share
        self.reverse_ratio, self.seed, self.num_steps = reverse_ratio, seed, num_steps
        self.docs = np.flatnonzero(~store.held_out)
        self.windows = cut_windows(store, self.docs, layout.window)
        self.builder = RowBuilder(store, self.windows, layout)
        sizes = int((self.windows.length + layout.prefix).sum())
        # The number of packed rows differs a little between epochs; this many there always are.
        rows = sizes // layout.row_length if layout.packed else len(self.windows)
        self.steps_per_epoch = rows // share.batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"the training split fills {rows} rows of {layout.row_length} tokens, fewer than one batch: "
                f"set budget.batch_size<={max(rows, 1)}, a smaller data.window, or give more text."
            )
        self._latest: tuple[int, Plan] | None = None

    def __len__(self) -> int:
        """Micro-batches of this rank in the run."""
        return self.num_steps * self.share.accumulate

    def __getitem__(self, index: int) -> Batch:
        """This rank's micro-batch `index`."""
        step, micro = divmod(index, self.share.accumulate)
        rows = self.step_rows(step)
        size = self.share.micro_batch_size
        at = (micro * self.share.world + self.share.rank) * size
        targets = sum(int(self.windows.length[items].sum()) for _, items in rows)
        return self.builder.batch(rows[at : at + size], targets)

    def step_rows(self, step: int) -> list[tuple[Direction, npt.NDArray[np.int64]]]:
        """All rows of an optimiser step, whichever rank takes them."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        at = batch * self.share.batch_size
        plan = self.plan(epoch)
        return [plan[row] for row in range(at, at + self.share.batch_size)]

    @property
    def most_first_pass(self) -> int:
        """Tokens of the windows of `first_pass` at most, known without planning an epoch."""
        rows = min(self.num_steps, self.steps_per_epoch) * self.share.batch_size
        return min(rows * self.layout.row_length, int(self.windows.length.sum()))

    def first_pass(self) -> npt.NDArray[np.int64]:
        """Numbers of the windows that the run reads in its first epoch, whichever rank takes them."""
        rows = self.plan(0).rows
        return rows.items[: rows.offsets[min(self.num_steps, self.steps_per_epoch) * self.share.batch_size]]

    def plan(self, epoch: int) -> Plan:
        """Every row of an epoch in order; the latest one is kept."""
        if self._latest is None or self._latest[0] != epoch:
            self._latest = (epoch, self._plan(epoch))
        return self._latest[1]

    def _plan(self, epoch: int) -> Plan:
        # Each direction's windows are packed apart, its rows shuffled, and the two interleaved.
        reverse = self._reversed(epoch)
        starts = mix64(self.windows.start.astype(np.uint64))
        keys = keyed_hash(self.store.hashes[self.windows.doc] ^ starts, self.seed, epoch)
        items, slots, num_rows = [], [], list[int]()
        for direction in Direction:
            chosen = np.flatnonzero(reverse == (direction is Direction.REVERSE))
            chosen = chosen[np.argsort(keys[chosen], kind="stable")]
            row_of = self.builder.pack(chosen)
            size = int(row_of.max(initial=-1)) + 1
            row_keys = keyed_hash(np.arange(size, dtype=np.uint64), self.seed, epoch, direction.number)
            # The inverse of an order says where each row goes.
            places = np.argsort(np.argsort(row_keys, kind="stable"))
            items.append(chosen)
            slots.append(places[row_of] + sum(num_rows))
            num_rows.append(size)
        order = interleave(num_rows[0], num_rows[1], self.reverse_ratio)
        rows = Rows.by_number(np.argsort(order)[np.concatenate(slots)], np.concatenate(items))
        return Plan(rows, order >= num_rows[0])

    def _reversed(self, epoch: int) -> npt.NDArray[np.bool_]:
        """(windows,) whether each window's document is read in reverse."""
        by_document = np.zeros(len(self.store), dtype=np.bool_)
        by_document[self.docs] = reversed_documents(
            self.store.hashes[self.docs],
            self.store.lengths[self.docs],
            ratio=self.reverse_ratio,
            seed=self.seed,
            epoch=epoch,
        )
        return by_document[self.windows.doc]


class EvalStream(Dataset):
    """The held-out documents once, in one direction; the same windows and rows for either."""

    def __init__(
        self,
        store: TokenStore,
        layout: Layout,
        *,
        direction: Direction,
        batch_size: int,
        max_tokens: int | None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Choose whole documents by hash until `max_tokens` is reached, and pack their windows.

        Raises:
            UserError: no document is held out.
        """
        self.direction, self.batch_size, self.rank, self.world = direction, batch_size, rank, world
        docs = np.flatnonzero(store.held_out)
        if not len(docs):
            raise UserError("no held-out document has two tokens or more: raise data.val_fraction.")
        docs = docs[np.argsort(keyed_hash(store.hashes[docs]), kind="stable")]
        if max_tokens is not None:
            before = np.cumsum(store.lengths[docs]) - store.lengths[docs]
            docs = docs[before < max_tokens]
        self.windows = cut_windows(store, np.sort(docs), layout.window)
        self.builder = RowBuilder(store, self.windows, layout)
        numbers = np.arange(len(self.windows))
        self.rows = Rows.by_number(self.builder.pack(numbers), numbers)
        self.num_documents = len(docs)

    def __len__(self) -> int:
        """Batches of each rank, equal for all: a rank without rows left gets an empty one."""
        return math.ceil(len(self.rows) / (self.batch_size * self.world))

    def __getitem__(self, index: int) -> Batch:
        """This rank's batch `index`."""
        if index >= len(self):
            raise IndexError(index)
        at = (index * self.world + self.rank) * self.batch_size
        rows = [self.rows[row] for row in range(at, min(at + self.batch_size, len(self.rows)))]
        targets = sum(int(self.windows.length[items].sum()) for items in rows)
        return self.builder.batch(
            [(self.direction, items) for items in rows or [self.rows.items[:0]]], targets
        )
