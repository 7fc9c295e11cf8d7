"""A text token by token, coloured by which direction reads each token more easily.

text     naïve
tokens   na | Ã | ¯ | ve      two tokens share the character ï
pieces   na | ï | ve          what is shown; S of ï is the sum of its two tokens'
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex, to_rgb
from tokenizers import Tokenizer

from revlm.direction import Direction
from revlm.explorer.texts import PAPER
from revlm.measures.scoring import TokenLosses
from revlm.pages.drawing import COLOURS, FloatArray

# Black letters stay readable on the strongest colour.
STRONGEST = 0.65
# The scale ends at this quantile of |S|, so that a few extreme tokens do not pale the rest.
END = 0.95
STEPS = 9  # of the legend
Spans = Sequence[tuple[int, int]]


def token_pieces(core: Tokenizer, text: str) -> tuple[list[str], list[int]]:
    """A text as the shortest pieces that are whole characters and whole tokens; together they are the text.

    Args:
        core: `Scorer.tokenize`.
        text: of one document.

    Returns:
        The pieces, and how many tokens each holds.
    """
    spans = core.encode(text, add_special_tokens=False).offsets
    begins = _begins(spans)
    tokens, places = [token for token, _ in begins], [place for _, place in begins]
    pieces = [text[start:end] for start, end in zip(places, [*places[1:], len(text)], strict=True)]
    return pieces, np.diff([*tokens, len(spans)]).tolist()


def token_table(core: Tokenizer, text: str, losses: TokenLosses) -> pd.DataFrame:
    """Pieces of a text with their losses, a row each, in reading order.

    Args:
        core: `Scorer.tokenize`.
        text: of one document.
        losses: of that document alone.

    Returns:
        Columns text, num_tokens, nll_forward, nll_reverse, s (nats, sums over the piece's tokens), and
        window (true where a piece begins one, so that forward reads it with nothing before it).
    """
    pieces, counts = token_pieces(core, text)
    first = np.cumsum([0, *counts])[:-1]
    forward, reverse = (np.add.reduceat(nll, first, dtype=np.float64) for nll in losses.nll)
    starts = losses.position[Direction.FORWARD.number] == 0
    sums = {"nll_forward": forward, "nll_reverse": reverse, "s": forward - reverse}
    windows = np.add.reduceat(starts, first) > 0
    return pd.DataFrame({"text": pieces, "num_tokens": counts, **sums, "window": windows})


def coloured_html(table: pd.DataFrame, *, title: str, limit: float | None = None) -> str:
    """Pieces as coloured text: blue where forward is easier, vermilion where reverse is, paler towards 0.

    Args:
        table: of `token_table`.
        title: what text this is.
        limit: |S| in nats of the strongest colour; None: a high quantile of the table's.
    """
    s = table["s"].to_numpy(dtype=np.float64)
    limit = limit or float(np.quantile(np.abs(s), END)) or 1.0
    body = "".join(map(_span, table.itertuples(index=False), colours(s, limit)))
    return (
        f'<div style="{PAPER}"><b>{html.escape(title)}</b>{_legend(limit)}'
        f'<div dir="auto" style="white-space:pre-wrap;line-height:1.7">{body}</div></div>'
    )


def colours(s: FloatArray, limit: float) -> list[str]:
    """A CSS colour for each S: white at 0, at its strongest from `limit` on."""
    share = STRONGEST * np.clip(np.abs(s) / limit, 0, 1)
    forward, reverse = (to_rgb(COLOURS[direction]) for direction in Direction)
    pure = np.where(s[:, None] > 0, reverse, forward)
    return [to_hex(mixed) for mixed in 1 - share[:, None] * (1 - pure)]


def _begins(spans: Spans) -> list[tuple[int, int]]:
    """First token of each piece and where the piece begins in the text.

    A token begins one if it shares no character with an earlier token and has some of its own. What lies
    between two tokens, such as a space that the tokenizer drops, belongs to the later one.
    """
    begins, reach = [(0, 0)], 0
    for token, (start, end) in enumerate(spans):
        if start >= reach > begins[-1][1] and end > reach:
            begins.append((token, reach))
        reach = max(reach, end)
    return begins if spans else []


def _span(row: tuple, colour: str) -> str:
    text, num_tokens, forward, reverse, s, window = row
    told = f"forward {forward:.2f} \u2212 reverse {reverse:.2f} = {s:+.2f}"
    told += f" ({num_tokens} tokens)" if num_tokens > 1 else ""
    edge = "border-inline-start:2px solid black;" if window else ""
    return f'<span title="{told}" style="{edge}background:{colour}">{html.escape(text)}</span>'


def _legend(limit: float) -> str:
    values = np.linspace(-limit, limit, STEPS)
    box = '<span style="background:{};padding:0 0.6em">{:+.1f}</span>'
    boxes = "".join(map(box.format, colours(values, limit), values))
    return (
        '<p style="font-size:85%;margin:0.3em 0 0.8em">forward is easier '
        f"{boxes} reverse is easier: forward loss \u2212 reverse loss, nats. Black bar: a window begins. "
        "Point at a piece for its losses.</p>"
    )
