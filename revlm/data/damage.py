"""Controlled damage: each document beside copies that are worse in one known way, three levels each.

The copies share everything with their original but the damage, so a measure of quality can be
compared in pairs. All choices come out of hashes of (data.seed, doc_id of the copy): the same in
every process and on every machine.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from revlm.config import Damage
from revlm.data.document import Document
from revlm.data.hashes import hashes, word_pattern

CLEAN = "clean"
# A run of text up to the end of a sentence or of a line; in code, a line.
SENTENCE = re.compile(r"\S(?:[^.!?。！？\n]|[.!?](?=\S))*[.!?。！？]*")  # noqa: RUF001 -- Chinese and Japanese
# What a scanner takes for what, both ways; pairs look alike in print.
LOOKALIKES = ("rn m", "cl d", "vv w", "ri n", "li h", "1 l", "0 O", "5 S", "8 B", "e c", "i j", "a o", "h b",
              "u v", "f t", "I l", "G C", "D O", ". ,", "; :", "n u", "s z")  # fmt: skip
# Share of words or sentences, of the text's end, or of characters that a level damages.
LEVELS: dict[Damage, tuple[float, ...]] = {
    Damage.word_shuffle: (0.1, 0.3, 1.0),
    Damage.sentence_shuffle: (0.25, 0.5, 1.0),
    Damage.repetition: (0.1, 0.3, 0.6),
    Damage.truncation: (0.25, 0.5, 0.75),
    Damage.ocr: (0.01, 0.05, 0.15),
}


def damaged(documents: Iterable[Document], kinds: Sequence[Damage], seed: int) -> Iterator[Document]:
    """Each document, labelled `clean`, followed by its damaged copies, labelled `kind/level`.

    A copy's id is the original's, `#` and its label. A copy that came out equal to its original (a
    document of one sentence has no other order) is left out.
    """
    for document in documents:
        yield document._replace(label=CLEAN)
        for kind in kinds:
            for level, share in enumerate(LEVELS[kind], start=1):
                label = f"{kind.value}/{level}"
                doc_id = f"{document.doc_id}#{label}"
                text = damage(document.text, kind, share, key=f"{seed}/{doc_id}", language=document.language)
                if text != document.text and text.strip():
                    yield document._replace(doc_id=doc_id, text=text, label=label)


def damage(text: str, kind: Damage, share: float, *, key: str, language: str = "en") -> str:
    """A text with a share of it damaged.

    Args:
        text: of a document.
        kind: what goes wrong.
        share: above 0, at most 1; of words (word_shuffle), sentences (sentence_shuffle,
            repetition), characters off the end (truncation), or characters (ocr).
        key: decides which.
        language: ISO 639-1; says what a word is.
    """
    if kind is Damage.truncation:
        return text[: max(1, round(len(text) * (1 - share)))]
    if kind is Damage.ocr:
        return _misread(text, share, key)
    pattern = word_pattern(language) if kind is Damage.word_shuffle else SENTENCE
    change = _repeated if kind is Damage.repetition else _shuffled
    return _with_units(text, pattern, lambda units: change(units, share, key))


def _with_units(text: str, pattern: re.Pattern[str], change: Callable[[list[str]], list[str]]) -> str:
    """The text with its units changed and everything between them where it was."""
    units, between = pattern.findall(text), pattern.split(text)
    return between[0] + "".join(unit + space for unit, space in zip(change(units), between[1:], strict=True))


def _shuffled(units: list[str], share: float, key: str) -> list[str]:
    """A share of the units, two or more, in another order among the places they hold."""
    count = max(2, math.ceil(share * len(units)))
    chosen = np.argsort(hashes(key, len(units)), kind="stable")[:count]
    moved = dict(zip(np.sort(chosen).tolist(), chosen.tolist(), strict=True))
    return [units[moved.get(place, place)] for place in range(len(units))]


def _repeated(units: list[str], share: float, key: str) -> list[str]:
    """A share of the units, never the first, each replaced by what stands before it."""
    ranks = np.argsort(hashes(key, len(units[1:])), kind="stable")
    result = list(units)
    for place in np.sort(ranks[: math.ceil(share * len(ranks))]) + 1:
        result[place] = result[place - 1]
    return result


def _misread(text: str, share: float, key: str) -> str:
    """Characters taken for others that look alike, with this probability; where none does, lost."""
    swaps = defaultdict[str, list[str]](list)
    for one, other in map(str.split, LOOKALIKES):
        swaps[one].append(other)
        swaps[other].append(one)
    drawn = hashes(key, 2 * len(text))
    hit = drawn[: len(text)] < share * 2.0**64
    result, place = [], 0
    while place < len(text):
        piece = text[place : place + 2] if hit[place] and text[place : place + 2] in swaps else text[place]
        others = swaps.get(piece, [""]) if hit[place] and not piece.isspace() else [piece]
        result.append(others[int(drawn[len(text) + place]) % len(others)])
        place += len(piece)
    return "".join(result)
