"""Each token's loss given k tokens on its left beside the same token's loss given k on its right.

At one position the two directions speak of different tokens. Here they speak of the same ones: whole
windows of n tokens slide over a document in steps of d, and token t is read

    forward with k tokens on its left     by the window from a1 = t - k          a1 . . t . . . .
    reverse with k tokens on its right    by the window from a2 = t + k - n + 1      a2 . . . t . .

Both windows are among those read when a2 - a1 = 2k - n + 1 is a multiple of d. With n odd and d even,
k runs in steps of d / 2, and the windows of a pair lie the same number of windows apart for every token.
At one k the tokens are every d-th, t = k modulo d: every second k is measured on the same of them, and its
neighbours on those halfway between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from revlm.data.tokens import TokenIds
from revlm.errors import UserError
from revlm.measures.crossing import FloatArray
from revlm.measures.scoring import Scorer

IntArray = npt.NDArray[np.int64]
# Tokens of windows whose losses are held at once.
READ_TOKENS = 1 << 18
NUM_CONTEXTS = 16  # about as many come out where no stride is given
EVEN = 2


@dataclass(frozen=True)
class Sliding:
    """Windows that slide over documents.

    Attributes:
        window: n, body tokens in each, odd.
        stride: d, tokens from one to the next, even.
    """

    window: int
    stride: int

    @classmethod
    def checked(cls, window: int, stride: int | None = None) -> Sliding:
        """Windows and a stride that pair up; stride None: one that gives about sixteen context lengths.

        Raises:
            UserError: an even window or an odd stride, between which no token is paired.
        """
        if window % EVEN == 0:
            raise UserError(
                f"window={window} is even, and the same token is paired within odd windows: set window={window - 1}."
            )
        if stride is None:
            stride = max(EVEN, EVEN * round((window - 1) / NUM_CONTEXTS))
        if stride % EVEN or stride < EVEN:
            raise UserError(f"stride={stride} is not an even number of 2 or more: set stride={stride + 1}.")
        return cls(window, stride)

    @property
    def contexts(self) -> IntArray:
        """(K,) context lengths k, rising; 0 and n - 1 are among them where d divides n - 1."""
        step = self.stride // 2
        return np.arange((self.window - 1) // 2 % step, self.window, step)

    @property
    def shifts(self) -> IntArray:
        """(K,) windows from the one that reads a token forward to the one that reads it in reverse."""
        return (2 * self.contexts - self.window + 1) // self.stride

    def counts(self, lengths: IntArray) -> IntArray:
        """(D,) whole windows within documents of so many tokens."""
        return np.maximum(0, (lengths - self.window) // self.stride + 1)


@dataclass(frozen=True)
class ContextSums:
    """Losses of D documents by context length, over exactly the same tokens both ways.

    Attributes:
        nll: (2, D, K) summed nats by `Direction.number`.
        num_tokens: (D, K) tokens behind either sum; 0 where a document is too short for a pair.
    """

    nll: FloatArray
    num_tokens: IntArray


def context_sums(
    scorer: Scorer,
    documents: TokenIds,
    names: Sequence[str],
    sliding: Sliding,
    *,
    on_tokens: Callable[[int], object] = lambda _: None,
) -> ContextSums:
    """Sums of both losses of the tokens that have k tokens on their left and k on their right.

    A token counts at k only if both of its windows lie on the grid and within the document, so the
    two sums differ by how a token is read and by nothing else. Beside the documents, what is held
    does not grow with their length.

    Args:
        scorer: reads windows of n tokens or more, token by token.
        documents: ids of D documents; one shorter than n has no tokens.
        names: (D,) of the documents, for messages.
        sliding: windows and context lengths.
        on_tokens: told how many tokens a batch has read, each direction counted.

    Raises:
        UserError: the model reverses other units than tokens, or reads shorter windows; or a loss is
            not a number.
    """
    _check_scorer(scorer, sliding)
    window, shifts = sliding.window, sliding.shifts
    counts = sliding.counts(documents.lengths)
    doc = np.repeat(np.arange(len(documents)), counts)
    rank = np.arange(len(doc)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = documents.offsets[doc] + rank * sliding.stride
    nll = np.zeros((2, len(documents), len(shifts)))
    step = max(1, READ_TOKENS // window)
    for at in range(0, len(doc), step):
        here = slice(at, at + step)
        ids = documents.ids[start[here, None] + np.arange(window)]  # (W, n)
        windows = TokenIds(ids.reshape(-1), window * np.arange(len(ids) + 1))
        read = scorer.token_losses(windows, [names[d] for d in doc[here]], on_tokens=on_tokens)
        forward, reverse = read.nll.reshape(2, len(ids), window)
        # In text order, so what a window reads k-th in reverse is its k-th token from the end.
        by_context = (forward[:, sliding.contexts], reverse[:, window - 1 - sliding.contexts])
        for sums, losses, partner in zip(nll, by_context, (shifts, -shifts), strict=True):
            other = rank[here, None] + partner  # (W, K)
            paired = (other >= 0) & (other < counts[doc[here], None])
            np.add.at(sums, doc[here], np.where(paired, losses, 0.0))
    return ContextSums(nll, np.maximum(0, counts[:, None] - np.abs(shifts)))


def _check_scorer(scorer: Scorer, sliding: Sliding) -> None:
    for model in scorer.models.values():
        if model.layout.units is not None:
            raise UserError(
                f"{model.name} does not reverse token by token, so no number of tokens stands on a token's right when "
                "it is read: choose a model that was trained with data.granularity=token."
            )
        longest = min(model.layout.window, model.facts.get("window") or sliding.window)
        if sliding.window > longest:
            raise UserError(
                f"window={sliding.window} is longer than the windows of {model.name} ({longest}): "
                f"set window={longest - 1 + longest % EVEN} or less."
            )
