"""How a row begins and how a window is turned: the one place that knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from revlm.data.tokens import begin_id, pad_id
from revlm.data.units import Units
from revlm.direction import Direction, IntArray, orient, reading_order


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
    tags: Mapping[Direction, int]
    units: Units = None

    @classmethod
    def of(
        cls,
        tokenizer: PreTrainedTokenizerFast,
        *,
        window: int,
        packed: bool = False,
        tags: Mapping[Direction, int] | None = None,
        units: Units = None,
    ) -> Layout:
        """A layout with the tokenizer's own BOS and padding.

        Raises:
            UserError: the tokenizer has no token that a row can begin with.
        """
        return cls(window, packed, begin_id(tokenizer), pad_id(tokenizer), tags or {}, units)

    @property
    def prefix(self) -> int:
        """Tokens before the body."""
        return 2 if self.tags else 1

    @property
    def row_length(self) -> int:
        """T: a full window and its prefix."""
        return self.window + self.prefix

    def head(self, direction: Direction) -> list[int]:
        """What stands before the body, `prefix` ids: BOS, and the direction's tag where there are tags."""
        return [self.bos, self.tags[direction]] if self.tags else [self.bos]

    def orient(self, ids: IntArray, direction: Direction) -> IntArray:
        """(n,) ids of a window in the order in which they are read; see `revlm.direction.orient`."""
        return orient(ids, direction, self._lengths(ids))

    def order(self, ids: IntArray, direction: Direction) -> IntArray:
        """(n,) text positions of a window's tokens in the order in which they are read: `orient` is `ids[order]`."""
        return reading_order(len(ids), direction, self._lengths(ids))

    def _lengths(self, ids: IntArray) -> IntArray | None:
        return self.units(ids) if self.units else None
