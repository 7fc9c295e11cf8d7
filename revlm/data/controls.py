"""Null controls: texts whose S is known beforehand, so that a study can show that its own is none of theirs.

All choices come out of hashes of (data.seed, doc_id): the same in every process and on every machine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from revlm.config import CorpusConfig, Source
from revlm.data.document import Document, nearest
from revlm.data.files import read_files
from revlm.data.hashes import hashes, word_pattern
from revlm.data.reading import Reading
from revlm.data.sample import read_sample
from revlm.errors import UserError

Matrix = npt.NDArray[np.float64]

# Words of a document of the chain: one window of the laptop scale holds it.
MARKOV_WORDS = 200
MARKOV_STATES = 200
# Characters of the base text that the chain is counted from: the whole sample, or a large text's beginning.
MARKOV_BASE = 50_000_000
# Few: the more lines, the longer a model takes to find the name that a word belongs to.
ARROW_LINES = 4
# Multiplication of the field with four elements; addition is XOR.
TIMES = ((0, 0, 0, 0), (0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2))


def base_source(config: CorpusConfig) -> Source | None:
    """Where the text comes from that a source reads: its own, a control's base text, or none."""
    if config.source in {Source.shuffled_words, Source.markov}:
        return Source.files if config.path else Source.sample
    return None if config.source is Source.arrow else config.source


def read_shuffled_words(config: CorpusConfig, reading: Reading) -> Iterator[Document]:
    """The documents of the base text, the words of each in an order without meaning.

    A word is a run of characters other than white space, in Chinese and Japanese one character.
    White space stays where it was, so lines and paragraphs keep their numbers of words. What S is
    left comes from inside of words and from lay-out, and none from the order of words: all orders
    of a document's words are equally likely, that read backwards too.

    Args:
        config: the base text is that of `data.path` or, without one, the sample's.
        reading: see `read_files`.
    """
    pattern = word_pattern(config.language)
    for document in _base(config, reading):
        doc_id = f"shuffled/{document.doc_id}"
        words, spaces = pattern.findall(document.text), pattern.split(document.text)
        order = np.argsort(hashes(f"{config.seed}/{doc_id}", len(words)), kind="stable").tolist()
        rest = (words[place] + space for place, space in zip(order, spaces[1:], strict=True))
        text = spaces[0] + "".join(rest)
        yield document._replace(doc_id=doc_id, text=text)


class Chain(NamedTuple):
    """A stationary chain of order one.

    words: its K states.
    pairs: (K, K) int64, weight of word i before word j, all above 0. Each word's row and column
        have the same sum, so these sums are the stationary distribution (times the total).
    """

    words: list[str]
    pairs: npt.NDArray[np.int64]


def markov_chain(config: CorpusConfig, reading: Reading | None = None) -> Chain:
    """The chain of the most frequent words of the base text, the rest left out.

    Each document is counted as a ring, its last word before its first, which makes a word occur as
    often before others as behind them; one is added to each count.

    Raises:
        UserError: a base text of fewer than two different words.
    """
    reading = reading or Reading()
    counts = Counter(word for words in _base_words(config, reading) for word in words)
    # Equally frequent words go by their spelling, not by who was counted first.
    states = sorted(counts, key=lambda word: (-counts[word], word))[:MARKOV_STATES]
    if len(states) < 2:  # noqa: PLR2004 -- one word makes no chain
        raise UserError(
            f"data=markov found {len(states)} different words in its base text: give more text with "
            "data.path, or leave it out for the sample's."
        )
    numbers = {word: number for number, word in enumerate(states)}
    pairs = np.ones((len(states), len(states)), dtype=np.int64)
    # Counted once already.
    for words in _base_words(config, Reading()):
        ring = np.array([numbers[word] for word in words if word in numbers], dtype=np.int64)
        np.add.at(pairs, (ring, np.roll(ring, -1)), 1)
    return Chain(states, pairs)


def transition_kernel(pairs: npt.NDArray[np.int64]) -> Matrix:
    """(K, K) probabilities of the next word, rows sum to 1."""
    return np.asarray(pairs / pairs.sum(axis=1, keepdims=True), dtype=np.float64)


def stationary_distribution(kernel: Matrix) -> Matrix:
    """(K,) the distribution that an irreducible (K, K) kernel keeps: pi = pi @ kernel."""
    ones = np.ones(len(kernel))
    return np.asarray(np.linalg.solve((np.eye(len(kernel)) - kernel + 1).T, ones), dtype=np.float64)


def reverse_kernel(kernel: Matrix) -> Matrix:
    """(K, K) kernel of the stationary chain read backwards: R[j, i] = pi[i] kernel[i, j] / pi[j].

    A stretch of text has one probability, whichever of the two chains reads it:
    pi[a] kernel[a, b] kernel[b, c] = pi[c] R[c, b] R[b, a].
    """
    pi = stationary_distribution(kernel)
    return np.asarray((pi[:, None] * kernel).T / pi[:, None], dtype=np.float64)


def read_markov(config: CorpusConfig, reading: Reading) -> Iterator[Document]:
    """Text of a stationary chain: S is 0 in truth, window by window.

    Read backwards it is a chain of order one as well, of the same entropy and with as many
    parameters to learn; and wherever a window is cut out of it, the two chains give the window the
    same probability (see `reverse_kernel`). A space stands before every word, the first one
    included, so that no token tells where a document begins.

    Args:
        config: the base text is that of `data.path` or the sample's, of `data.domains`; the caps
            say how much text is made.
        reading: see `read_files`.

    Raises:
        UserError: nothing is capped, or the base text has too few words.
    """
    numbers = _documents(config, smallest=2 * MARKOV_WORDS)
    words, pairs = markov_chain(config, reading)
    # Integers throughout: no rounding decides a word.
    start = list(accumulate(pairs.sum(axis=1).tolist()))
    rows = [list(accumulate(row)) for row in pairs.tolist()]
    for number in numbers:
        doc_id, weights, text = f"markov/{number}", start, list[str]()
        for value in hashes(f"{config.seed}/{doc_id}", MARKOV_WORDS).tolist():
            state = bisect_right(weights, value % weights[-1])
            text.append(f" {words[state]}")
            weights = rows[state]
        yield Document(doc_id, "".join(text), "markov", config.language)


def arrow_code(name: int) -> list[int]:
    """The six values, 0 to 3, that belong to a name of `arrow`, 0 to 63: a word of the hexacode.

    The name's base-4 digits a, b, c make the polynomial a xx + bx + c over the field with four
    elements. The values are those at 0, 1, 2 and 3, then a and b. Over all names, any three values
    are independent and uniform.

    Source: Conway & Sloane, Sphere Packings, Lattices and Groups (the hexacode).
    """
    a, b, c = name >> 4, name >> 2 & 3, name & 3
    return [TIMES[a][TIMES[x][x]] ^ TIMES[b][x] ^ c for x in range(4)] + [a, b]


def arrow_line(name: int) -> str:
    """A name and its six words, which are single characters: `! a e i m q u`.

    Word i is one of four letters of its own; a space stands before each, so that each is a token.
    """
    values = arrow_code(name)
    words = [chr(ord("a") + 4 * place + value) for place, value in enumerate(values)]
    return "".join(f" {word}" for word in (chr(ord("!") + name), *words))


def read_arrow(config: CorpusConfig) -> Iterator[Document]:
    """Text with a known arrow: forward is easier to learn, S is below 0 until reverse is learned too.

    Each line is one of 64, drawn uniformly: a name and its six words. By the chain rule it holds
    ln 64 nats in either direction, and no reader can pay less.
    Forward all of that lies in the name, and each word follows from the name alone: a table of 64
    entries, looked up by one token.
    Reverse meets the words first. Any three are independent, so a reader that makes no more of the
    words behind than of single ones and pairs finds each word uniform: exactly, whatever it has
    learned and however it adds their evidence up. It pays 6 ln 4 nats, twice what there is to
    pay. Only three words together tell the others; the arrow fades as reverse learns that too.
    While little is learned its sign is not known: the names alone are easy to find in reverse.

    Raises:
        UserError: nothing is capped, or a base text is asked for.
    """
    if config.path or config.domains:
        option = "data.path" if config.path else "data.domains"
        raise UserError(f"data=arrow has no base text: leave {option} out, or choose data=markov.")
    lines = [f"{arrow_line(name)}\n" for name in range(64)]
    for number in _documents(config, smallest=ARROW_LINES * len(lines[0])):
        doc_id = f"arrow/{number}"
        names = (hashes(f"{config.seed}/{doc_id}", ARROW_LINES) % 64).tolist()
        # ISO 639: no linguistic content.
        yield Document(doc_id, "".join(lines[name] for name in names), "arrow", "zxx")


def _documents(config: CorpusConfig, *, smallest: int) -> range:
    """Numbers of as many documents, each of `smallest` bytes or more, as the caps can need."""
    sizes = [cap for cap in (config.max_bytes, config.max_bytes_per_domain) if cap is not None]
    counts = [size // smallest + 1 for size in sizes]
    if config.max_documents is not None:
        counts.append(config.max_documents)
    if not counts:
        raise UserError(
            f"data={config.source.value} has no end of its own: set data.max_documents or data.max_bytes."
        )
    return range(min(counts))


def _base_words(config: CorpusConfig, reading: Reading) -> Iterator[list[str]]:
    """Words of each document of the base text, as far as the chain looks."""
    pattern, read = word_pattern(config.language), 0
    for document in _base(config, reading):
        yield pattern.findall(document.text)
        read += len(document.text)
        if read >= MARKOV_BASE:
            return


def _base(config: CorpusConfig, reading: Reading) -> Iterator[Document]:
    """Documents of the base text, of the chosen domains."""
    from_files = base_source(config) is Source.files
    found: set[str] = set()
    for document in read_files(config, reading) if from_files else read_sample(config):
        found.add(document.domain)
        if not config.domains or document.domain in config.domains:
            yield document
    for domain in config.domains or ():
        if domain not in found:
            raise UserError(f"data.domains: the base text has no domain {domain!r}: {nearest(domain, found)}")
