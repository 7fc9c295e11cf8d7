"""The metric behind curves of loss by position: sums and counts that add up over batches and ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric

from revlm.data.order import keyed_hash
from revlm.measures.crossing import Curves, FloatArray


class PositionCurve(Metric):
    """Sums and counts of token losses by direction and position, alike on one rank or many.

    The bootstrap over documents is kept as sums too: in resample r a document weighs
    Poisson(1), drawn from a hash of (document, seed, r). All its tokens, in both directions and
    on whichever rank, share that weight, so resamples are paired and clustered by document, and
    memory does not grow with the text.

    Args:
        num_positions: P, the window.
        resamples: R >= 0.
        seed: of the resamples.
        **kwargs: torchmetrics' own.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor
    resampled_sums: Tensor
    resampled_counts: Tensor

    def __init__(self, num_positions: int, resamples: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_positions, self.resamples, self.seed = num_positions, resamples, seed
        for name, shape in (
            ("sums", (2, num_positions)),
            ("counts", (2, num_positions)),
            ("resampled_sums", (2, resamples, num_positions)),
            ("resampled_counts", (2, resamples, num_positions)),
        ):
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Follow the module to its device, but stay float64 where it becomes bfloat16."""
        return super()._apply(lambda tensor: fn(tensor).to(tensor.dtype), *args, **kwargs)

    def update(self, nll: Tensor, position: Tensor, doc_id: Tensor, direction: int) -> None:
        """Add N tokens.

        Args:
            nll: (N,) nats.
            position: (N,) body tokens already read.
            doc_id: (N,) number of the document.
            direction: `Direction.number`.
        """
        docs, segment = torch.unique(doc_id, return_inverse=True)
        cells = (segment * self.num_positions + position).long()
        shape = (len(docs), self.num_positions)
        sums = torch.zeros(shape, dtype=torch.float64, device=nll.device)
        counts = torch.zeros_like(sums)
        sums.view(-1).index_add_(0, cells, nll.double())
        counts.view(-1).index_add_(0, cells, torch.ones_like(nll, dtype=torch.float64))
        weights = poisson_weights(docs.cpu().numpy(), self.resamples, self.seed).to(nll.device)
        self.sums[direction] += sums.sum(0)
        self.counts[direction] += counts.sum(0)
        self.resampled_sums[direction] += weights.T @ sums
        self.resampled_counts[direction] += weights.T @ counts

    def compute(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sums and counts, plain and resampled, over everything added on all ranks."""
        return self.sums, self.counts, self.resampled_sums, self.resampled_counts

    def curves(self) -> Curves:
        """The mean losses that `compute` makes."""
        sums, counts, resampled_sums, resampled_counts = self.compute()
        return Curves(*_means(sums, counts), *_means(resampled_sums, resampled_counts))


def poisson_weights(docs: npt.NDArray[np.int64], resamples: int, seed: int) -> Tensor:
    """(D, R) float64: how often each document stands in each resample, mean 1.

    Source: the Poisson bootstrap, which needs no total (Chamandy et al., 2012).
    """
    replicate = keyed_hash(np.arange(resamples, dtype=np.uint64), seed)
    hashes = keyed_hash(docs.astype(np.uint64)[:, None] ^ replicate[None, :], seed)
    uniform = (hashes >> np.uint64(11)).astype(np.float64) / 2**53
    probabilities = np.cumsum([np.exp(-1.0) / float(np.prod(np.arange(1, k + 1))) for k in range(18)])
    return torch.from_numpy(np.searchsorted(probabilities, uniform, side="right").astype(np.float64))


def _means(sums: Tensor, counts: Tensor) -> tuple[FloatArray, FloatArray]:
    total, count = sums.cpu().numpy(), counts.cpu().numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan), count
