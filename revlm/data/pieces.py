"""Long texts in pieces that have the same token ids as the whole.

A tokenizer keeps a record of some 400 bytes for each token of a text until the whole text is done:
a gigabyte for one document of ten megabytes. Most of them cut a text into words first and never look
across words again, so a text that is cut between two words has the same ids in pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

IdArray = npt.NDArray[np.integer]
# Characters of a piece, and of what is encoded at once: some 65,000 tokens, 25 MB of records.
PIECE, AT_ONCE = 1 << 15, 1 << 18
# Characters on either side in which a cut is tried, and candidates that are tried in a stretch.
CONTEXT, TRIES = 256, 8
# Whose words do not depend on what stands around them.
WORD_BY_WORD = ("BPE", "WordPiece", "Unigram", "WordLevel")
PROBE = (
    "The quick brown fox's 2 dogs aren't lazy, are they? No! A price of 3 000.50 EUR; see Section 4b (page 12): x = y.\n"
    "Der Fl\u00fcgel \u00fcber Stra\u00dfen f\u00e4llt und steigt. \u0422\u0430\u043c \u0431\u0443\u043b\u043e \u0442\u0438\u0445\u043e, \u0456 \u043d\u0456\u0447\u043e\u0433\u043e\n"
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u5427\u3002\u4f60\u597d\u5417\uff1f\u65e5\u672c\u8a9e\u3067\u3059\u3002\n"
    "a b c d  e   f \U0001f469\u200d\U0001f469\u200d\U0001f467 end of it\nand the next line\nthe the the Aa bB _c d_ e1 2f I I"
)


@dataclass(frozen=True)
class Place:
    """A kind of place to cut at: before what the pattern finds, which is dropped or begins the next piece."""

    pattern: re.Pattern[str]
    drops: bool = False

    def apart(self, text: str, found: re.Match[str], width: int) -> tuple[str, str, str]:
        """What stands around a place: so many characters before it and behind it, and both as they are in the text."""
        before, end = text[max(0, found.start() - width) : found.start()], found.start() + width
        return before, text[self.resumes(found) : end], before + text[found.start() : end]

    def resumes(self, found: re.Match[str]) -> int:
        """Where the next piece begins."""
        return found.end() if self.drops else found.start()


# The first that a tokenizer allows, and that is met, is taken. Characters on both sides are such that neither
# normalisation nor a rule for runs of white space reaches across.
BETWEEN_WORDS = re.compile(r"(?<=\w) (?=\w)")
PLACES = (
    Place(BETWEEN_WORDS),
    # SentencePiece's own scheme puts a space before every text: the piece must not bring one.
    Place(BETWEEN_WORDS, drops=True),
    Place(re.compile(r"(?<=\S\n)(?=\w)")),
    Place(
        re.compile(r"(?<=[^\W\d_])(?=[.!?,;:\u3002\uff01\uff1f\uff0c\u3001\uff1b\uff1a\u060c\u061f\u0964])")
    ),
    Place(re.compile(r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])")),
)


class Cutter:
    """Cuts texts where one tokenizer cuts them anyway; where that cannot be shown, a text stays whole.

    A kind of place is used where the tokenizer's first step ends a word there, in a sample of several scripts and
    from whichever character the text begins, or where it has no such step and no piece of its vocabulary spans
    the place. Every single cut is tried on the text around it as well.

    Args:
        core: a tokenizer as `plain_tokenizer` makes it, or one without a vocabulary yet.
    """

    def __init__(self, core: Tokenizer) -> None:
        self.core = core

    def pieces(self, text: str) -> Iterator[str]:
        """The text in pieces of `PIECE` characters and a bit, in order; one piece where it is short or no cut is safe."""
        at = 0
        while len(text) - at > 2 * PIECE and (cut := self._cut(text, at + PIECE)):
            end, start = cut
            yield text[at:end]
            at = start
        yield text[at:] if at else text

    def _cut(self, text: str, start: int) -> tuple[int, int] | None:
        """Where a piece ends and where the next one begins, behind `start`; None: nowhere."""
        for at in range(start, len(text), PIECE):
            for place in self.places:
                for _, found in zip(range(TRIES), place.pattern.finditer(text, at, at + PIECE), strict=False):
                    if self._same(*place.apart(text, found, CONTEXT)):
                        return found.start(), place.resumes(found)
        return None

    @cached_property
    def places(self) -> list[Place]:
        """The kinds of places at which this tokenizer may be cut."""
        state = json.loads(self.core.to_str())
        model = state["model"]
        if model["type"] not in WORD_BY_WORD or model.get("dropout"):
            return []
        added = [token["content"] for token in state["added_tokens"] if not token["special"]]
        return [place for place in PLACES if not _inside(place, added) and self._proven(place, model)]

    def _proven(self, place: Place, model: dict[str, Any]) -> bool:
        ends_words = all(
            self._words(whole) == self._words(before) + self._words(after)
            for before, after, whole in _contexts(place)
        )
        space = "".join(self._words("x x"))[-2:-1]
        stops = place.pattern is BETWEEN_WORDS and _merges_stop_at(space, model)
        return (ends_words or stops) and all(self._same(*texts) for texts in _contexts(place))

    def _words(self, text: str) -> list[str]:
        normalizer, splitter = self.core.normalizer, self.core.pre_tokenizer
        text = normalizer.normalize_str(text) if normalizer else text
        return [word for word, _ in splitter.pre_tokenize_str(text)] if splitter else [text]

    def _same(self, before: str, after: str, whole: str) -> bool:
        left, right, both = self.core.encode_batch_fast([before, after, whole], add_special_tokens=False)
        return bool(left.ids + right.ids == both.ids)


class Encoder:
    """Texts to token ids by one tokenizer, in memory that does not depend on how long a text is.

    Args:
        core: see `plain_tokenizer`.
    """

    def __init__(self, core: Tokenizer) -> None:
        self.core, self.cutter = core, Cutter(core)

    def __call__(self, texts: Iterable[str], dtype: npt.DTypeLike = np.int64) -> Iterator[IdArray]:
        """The ids of each text, in order; a few texts are read ahead."""
        done: list[IdArray] = []
        for group in _groups(self.cutter, texts):
            pieces = [piece for piece, _ in group]
            encodings = self.core.encode_batch_fast(pieces, add_special_tokens=False)
            for encoding, (_, ends) in zip(encodings, group, strict=True):
                done.append(np.asarray(encoding.ids, dtype=dtype))
                if ends:
                    yield done[0] if len(done) == 1 else np.concatenate(done)
                    done = []


def _groups(cutter: Cutter, texts: Iterable[str]) -> Iterator[list[tuple[str, bool]]]:
    """Pieces, and whether each ends its text, in groups of `AT_ONCE` characters and a bit."""
    group, size = list[tuple[str, bool]](), 0
    for text in texts:
        for piece, ends in _marked(cutter.pieces(text)):
            group.append((piece, ends))
            size += len(piece)
            if size >= AT_ONCE:
                yield group
                group, size = [], 0
    if group:
        yield group


def _marked(pieces: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """Each piece, and whether it is the last."""
    piece = next(pieces)
    for following in pieces:
        yield piece, False
        piece = following
    yield piece, True


def _contexts(place: Place) -> Iterator[tuple[str, str, str]]:
    """What stands around the places of one kind in the sample, from near to far."""
    for found in place.pattern.finditer(PROBE):
        for width in range(2, 30):
            yield place.apart(PROBE, found, width)


def _inside(place: Place, tokens: list[str]) -> bool:
    """Whether a token that is taken out of a text before it is cut into words can itself hold such a place."""
    return any(
        1 < found.start() < 1 + len(token)
        for token in tokens
        for beside in "x\u5929."
        for found in place.pattern.finditer(beside + token + beside)
    )


def _merges_stop_at(space: str, model: dict[str, Any]) -> bool:
    """Whether nothing in a BPE's vocabulary has a space behind another character, and so no merge spans one.

    Args:
        space: what stands for it inside the vocabulary.
        model: its state.
    """
    if model["type"] != "BPE" or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return False
    return bool(space) and not any(space in token.lstrip(space) for token in model["vocab"])
