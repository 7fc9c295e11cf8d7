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
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from revlm.data.order import interleave, keyed_hash, mix64, reversed_documents
from revlm.data.tokens import TokenStore
from revlm.data.windows import Windows, cut_windows, pack
from revlm.direction import Direction, IntArray, orient
from revlm.errors import UserError

# transformers' label for what is not a target.
IGNORE = -100
Units = Callable[[IntArray], IntArray] | None


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


@dataclass(frozen=True)
class Layout:
    """How a window becomes part of a row.

    Attributes:
        window: body tokens in a window, at most.
        packed: several windows a row, or one.
        bos: id before every window.
        pad: id behind the last one.
        tags: ids of the direction tags behind BOS; empty for none.
        units: lengths of the units of a window, in text order; None for single tokens.
    """

    window: int
    packed: bool
    bos: int
    pad: int
    tags: dict[Direction, int]
    units: Units = None

    @property
    def prefix(self) -> int:
        """Tokens before the body."""
        return 2 if self.tags else 1

    @property
    def row_length(self) -> int:
        """T: a full window and its prefix."""
        return self.window + self.prefix


class RowBuilder:
    """Writes windows into rows of tensors."""

    def __init__(self, store: TokenStore, windows: Windows, layout: Layout) -> None:
        """Keep what every row needs."""
        self.store, self.windows, self.layout = store, windows, layout

    def batch(self, rows: list[tuple[Direction, list[int]]], step_targets: int) -> Batch:
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
                head = self._head(direction)
                body = self._body(item, direction)
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

    def _head(self, direction: Direction) -> list[int]:
        tags = self.layout.tags
        return [self.layout.bos, tags[direction]] if tags else [self.layout.bos]

    def _body(self, item: int, direction: Direction) -> IntArray:
        start = self.windows.start[item]
        ids = self.store.document(self.windows.doc[item])[start : start + self.windows.length[item]]
        units = self.layout.units(ids) if self.layout.units else None
        return orient(ids, direction, units)


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


Plan = list[tuple[Direction, list[int]]]


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
        docs = np.flatnonzero(~store.held_out)
        self.windows = cut_windows(store, docs, layout.window)
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

    def step_rows(self, step: int) -> Plan:
        """All rows of an optimiser step, whichever rank takes them."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        at = batch * self.share.batch_size
        return self.plan(epoch)[at : at + self.share.batch_size]

    def plan(self, epoch: int) -> Plan:
        """Every row of an epoch in order; the latest one is kept."""
        if self._latest is None or self._latest[0] != epoch:
            self._latest = (epoch, self._plan(epoch))
        return self._latest[1]

    def _plan(self, epoch: int) -> Plan:
        docs = np.unique(self.windows.doc)
        reverse = np.zeros(len(self.store), dtype=np.bool_)
        reverse[docs] = reversed_documents(
            self.store.hashes[docs],
            self.store.lengths[docs],
            ratio=self.reverse_ratio,
            seed=self.seed,
            epoch=epoch,
        )
        window_keys = keyed_hash(
            self.store.hashes[self.windows.doc] ^ mix64(self.windows.start.astype(np.uint64)),
            self.seed,
            epoch,
        )
        rows: dict[Direction, list[list[int]]] = {}
        for direction in Direction:
            chosen = np.flatnonzero(reverse[self.windows.doc] == (direction is Direction.REVERSE))
            chosen = chosen[np.argsort(window_keys[chosen], kind="stable")]
            packed = self._rows(chosen)
            keys = keyed_hash(np.arange(len(packed), dtype=np.uint64), self.seed, epoch, direction.number)
            rows[direction] = [packed[i] for i in np.argsort(keys, kind="stable")]
        tagged = [(direction, items) for direction in Direction for items in rows[direction]]
        order = interleave(len(rows[Direction.FORWARD]), len(rows[Direction.REVERSE]), self.reverse_ratio)
        return [tagged[i] for i in order]

    def _rows(self, chosen: npt.NDArray[np.int64]) -> list[list[int]]:
        if not self.layout.packed:
            return [[int(item)] for item in chosen]
        sizes = self.windows.length[chosen] + self.layout.prefix
        return [[int(chosen[item]) for item in row] for row in pack(sizes, self.layout.row_length)]


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
        """Choose whole documents by hash until `max_tokens` is reached, and pack their windows."""
        self.direction, self.batch_size, self.rank, self.world = direction, batch_size, rank, world
        docs = np.flatnonzero(store.held_out)
        docs = docs[np.argsort(keyed_hash(store.hashes[docs]), kind="stable")]
        if max_tokens is not None:
            before = np.cumsum(store.lengths[docs]) - store.lengths[docs]
            docs = docs[before < max_tokens]
        self.windows = cut_windows(store, np.sort(docs), layout.window)
        self.builder = RowBuilder(store, self.windows, layout)
        sizes = self.windows.length + layout.prefix
        self.rows = (
            pack(sizes, layout.row_length) if layout.packed else [[i] for i in range(len(self.windows))]
        )
        self.num_documents = len(docs)
        self.num_batches = math.ceil(len(self.rows) / batch_size)

    def __len__(self) -> int:
        """Batches of each rank, equal for all: a rank without rows left gets an empty one."""
        return math.ceil(self.num_batches / self.world)

    def __getitem__(self, index: int) -> Batch:
        """This rank's batch `index`."""
        if index >= len(self):
            raise IndexError(index)
        at = (index * self.world + self.rank) * self.batch_size
        rows = self.rows[at : at + self.batch_size] or [[]]
        targets = sum(int(self.windows.length[items].sum()) for items in rows)
        return self.builder.batch([(self.direction, items) for items in rows], targets)
