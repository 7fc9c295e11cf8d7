"""Model and documents to losses in both directions, and from these to each document's scores.

windows    cut once, from the document's beginning       [a b c d] [e f g]
forward    BOS a b c d       BOS e f g
reverse    BOS d c b a       BOS g f e                    the same tokens, the other way
losses     put back into text order: token t has one loss for each direction
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from revlm.cache import default_cache
from revlm.config import ModelSource
from revlm.data.document import check_text
from revlm.data.pieces import Encoder
from revlm.data.streams import RowBuilder
from revlm.data.tokens import TokenIds, plain_tokenizer
from revlm.data.windows import Windows, cut_windows
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.crossing import FloatArray
from revlm.models.language_model import ENDLESS, LanguageModel, open_model
from revlm.models.nll import TokenLoss

# Rows of a few windows stay in a core's cache: on two cores, 1.3M parameters and windows of 256,
# batches of 32 windows were a quarter slower.
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 1024, 65_536


@dataclass(frozen=True)
class TokenLosses:
    """Losses of every token of D documents, in text order, so that a token's two can be paired.

    Attributes:
        offsets: (D + 1,) document d holds entries offsets[d]:offsets[d + 1].
        nll: (2, total) nats by `Direction.number`, as the model's precision gives them.
        position: (2, total) body tokens of the window read before the token.
    """

    offsets: npt.NDArray[np.int64]
    nll: npt.NDArray[np.floating]
    position: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def sums(self, *, first: bool = True) -> FloatArray:
        """(2, D) summed nats; without the tokens that nothing stands before unless `first`."""
        kept = self.nll if first else np.where(self.position > 0, self.nll, 0)
        # reduceat would take an empty document for its neighbour's first token; there is none here.
        return np.asarray(np.add.reduceat(kept, self.offsets[:-1], axis=1, dtype=np.float64))

    def counts(self, *, first: bool = True) -> npt.NDArray[np.int64]:
        """(2, D) tokens behind `sums`."""
        kept = np.ones_like(self.position) if first else (self.position > 0).astype(np.int32)
        return np.asarray(np.add.reduceat(kept, self.offsets[:-1], axis=1, dtype=np.int64))


@dataclass(frozen=True)
class WindowBatch:
    """Windows of like length to be read by one model, each in a direction."""

    loss: TokenLoss
    rows: list[tuple[Direction, int]]


class Scorer:
    """Both losses of documents, under one model or a pair of one-direction models.

    Takes texts of any length: long ones are cut into windows. Batches are sorted by length, and
    which documents share one never changes a score beyond rounding.

    Use on a `datasets.Dataset`, three lines in all:

        scorer = Scorer.open("runs/.../model")
        scored = dataset.map(scorer, batched=True, batch_size=256)
    """

    def __init__(self, models: Mapping[Direction, LanguageModel], *, batch_tokens: int | None = None) -> None:
        """Take a model for each direction, the same one or two.

        Args:
            models: which model reads which way.
            batch_tokens: body tokens in a batch; None: what suits the device.

        Raises:
            UserError: the two models cut text into different tokens or windows.
        """
        forward, reverse = models[Direction.FORWARD], models[Direction.REVERSE]
        _check_pair(forward, reverse)
        self.models, self.layout = dict(models), forward.layout
        self.losses = {direction: TokenLoss(model.model) for direction, model in models.items()}
        if forward is reverse:
            self.losses[Direction.REVERSE] = self.losses[Direction.FORWARD]
        self.device = torch.device(forward.model.device)
        on_cpu = self.device.type == "cpu"
        self.batch_tokens = batch_tokens or (CPU_BATCH_TOKENS if on_cpu else GPU_BATCH_TOKENS)
        self.tokenize = plain_tokenizer(forward.tokenizer)
        self.encode = Encoder(self.tokenize)

    @classmethod
    def open(
        cls,
        forward: str,
        reverse: str | None = None,
        *,
        options: ModelSource | None = None,
        window: int | None = None,
        batch_tokens: int | None = None,
        cache_dir: Path | None = None,
    ) -> Scorer:
        """A scorer from the names of its models; see `open_model`.

        Args:
            forward: model, or the forward one of a pair.
            reverse: the reverse one of a pair.
            options: device, precision, tokenizer.
            window: body tokens in a window.
            batch_tokens: see `Scorer`.
            cache_dir: for converted weights; None: the default of `cache.dir`.
        """
        options, cache = options or ModelSource(), cache_dir or default_cache()
        first = open_model(forward, options, cache, window=window)
        if first.layout.window >= ENDLESS - first.layout.prefix:
            raise UserError(f"{forward} does not say how long its context is: set window=.")
        if reverse is None:
            return cls(dict.fromkeys(Direction, first), batch_tokens=batch_tokens)
        second = open_model(reverse, options, cache, window=first.layout.window)
        models = {Direction.FORWARD: first, Direction.REVERSE: second}
        for direction, model in models.items():
            if direction not in model.directions:
                raise UserError(
                    f"model.{direction}={model.name} was not trained on {direction}: give one that was, or score "
                    "a single model with model=."
                )
        return cls(models, batch_tokens=batch_tokens)

    def token_losses(
        self,
        documents: TokenIds,
        names: Sequence[str],
        *,
        on_tokens: Callable[[int], object] = lambda _: None,
    ) -> TokenLosses:
        """Losses of every token, both ways.

        Args:
            documents: ids, one token or more each.
            names: (D,) of the documents, for messages.
            on_tokens: told how many tokens a batch has read, each direction counted.

        Raises:
            UserError: a loss is not a number; names the document.
        """
        total = int(documents.offsets[-1])
        float64 = self.models[Direction.FORWARD].model.dtype == torch.float64
        nll = np.empty((2, total), dtype=np.float64 if float64 else np.float32)
        position = np.empty((2, total), dtype=np.int32)
        windows = cut_windows(documents, np.arange(len(documents)), self.layout.window)
        builder = RowBuilder(documents, windows, self.layout)

        def read(batch: WindowBatch) -> npt.NDArray[np.floating]:
            width = self.layout.prefix + int(windows.length[[item for _, item in batch.rows]].max())
            tensors = builder.batch([(direction, [item]) for direction, item in batch.rows], 0)
            ids, labels = (tensors[name][:, :width].to(self.device) for name in ("input_ids", "labels"))
            # inference_mode holds for one thread only.
            with torch.inference_mode():
                return np.asarray(batch.loss.token_nll(ids, labels).cpu().numpy())

        for batch, losses in self._read_all(read, list(self._batches(windows))):
            for (direction, item), row in zip(batch.rows, losses, strict=True):
                length = int(windows.length[item])
                body = row[self.layout.prefix : self.layout.prefix + length]
                _check_finite(body, names[windows.doc[item]], direction)
                at = documents.offsets[windows.doc[item]] + windows.start[item]
                order = at + self.layout.order(documents.ids[at : at + length], direction)
                nll[direction.number, order] = body
                position[direction.number, order] = np.arange(length)
            on_tokens(int(windows.length[[item for _, item in batch.rows]].sum()))
        return TokenLosses(documents.offsets, nll, position)

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
        """Scores of a batch of texts, for `Dataset.map(scorer, batched=True)`.

        Args:
            batch: column `text`.

        Returns:
            num_tokens, nll_forward, nll_reverse and s; None for texts of fewer than two tokens.

        Raises:
            UserError: a row holds no text; names it.
        """
        for row, text in enumerate(batch["text"]):
            if not isinstance(text, str):
                raise UserError(
                    f"row {row} of the batch: text is {text!r}, not a string: filter such rows out first."
                )
            check_text(text, f"row {row} of the batch")
        ids = TokenIds.of(self.encode(batch["text"]))
        long = np.flatnonzero(ids.lengths > 1)
        columns = np.full((3, len(ids)), None)
        if len(long):
            losses = self.token_losses(ids.take(long), [f"{row} of the batch" for row in long])
            forward, reverse = losses.sums() / losses.counts()
            columns[:, long] = forward, reverse, forward - reverse
        names = ("num_tokens", "nll_forward", "nll_reverse", "s")
        return dict(zip(names, [ids.lengths.tolist(), *columns.tolist()], strict=True))

    def _read_all(
        self, read: Callable[[WindowBatch], npt.NDArray[np.floating]], batches: list[WindowBatch]
    ) -> Iterator[tuple[WindowBatch, npt.NDArray[np.floating]]]:
        """Batches and their losses, in order; on a CPU, one batch a core at a time.

        A core on its own wastes none of its time waiting for others within a small product, and a
        batch's losses do not depend, to the bit, on how many cores there are.
        """
        threads = torch.get_num_threads()
        replayed = any(loss.replayed for loss in self.losses.values())
        on_cpu = self.device.type == "cpu"
        # Replaying a model's head borrows its body, which other threads would miss.
        size = threads if on_cpu and not replayed else 1
        alone = partial(torch.set_num_threads, 1 if on_cpu else threads)
        pool = ThreadPoolExecutor(size, initializer=alone)
        try:
            yield from zip(batches, pool.map(read, batches), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)
            # Threads that begin later take the number that was set last, wherever that was.
            torch.set_num_threads(threads)

    def _batches(self, windows: Windows) -> Iterator[WindowBatch]:
        """Batches of like length."""
        order = np.argsort(-windows.length, kind="stable")
        one_model = self.losses[Direction.FORWARD] is self.losses[Direction.REVERSE]
        groups = [tuple(Direction)] if one_model else [(direction,) for direction in Direction]
        for directions in groups:
            at = 0
            while at < len(order):
                longest = int(windows.length[order[at]])
                size = max(1, self.batch_tokens // (longest * len(directions)))
                items = order[at : at + size].tolist()
                rows = [(direction, item) for direction in directions for item in items]
                yield WindowBatch(self.losses[directions[0]], rows)
                at += size


def _check_pair(forward: LanguageModel, reverse: LanguageModel) -> None:
    if forward.tokenizer_fingerprint() != reverse.tokenizer_fingerprint():
        raise UserError(
            f"model.forward={forward.name} and model.reverse={reverse.name} have different tokenizers, so their losses "
            "speak of different tokens: give a pair that was trained on the same one."
        )
    one, other = forward.layout, reverse.layout
    if (one.window, one.prefix) != (other.window, other.prefix):
        raise UserError(
            f"model.forward={forward.name} and model.reverse={reverse.name} read windows of {one.window} and "
            f"{other.window} tokens, with and without tags: give a pair that reads alike, or set window=."
        )


def _check_finite(nll: npt.NDArray[np.floating], name: str, direction: Direction) -> None:
    if not np.isfinite(nll).all():
        where = int(np.flatnonzero(~np.isfinite(nll))[0])
        raise UserError(
            f"document {name}: the {direction} loss is {nll[where]} at position {where} of a window: the model's weights "
            "are damaged, or its precision is too low (model.precision=float32)."
        )
