"""Text to token ids: a tokenizer, and a memory-mapped store of every document's ids.

Documents are tokenised first and oriented later (SCIENCE: reversing text first is another
experiment), so a store knows nothing of directions.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from datasets import Dataset
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from revlm.cache import atomic_folder, digest
from revlm.data.order import HashArray, document_hashes
from revlm.data.pieces import Cutter, Encoder
from revlm.data.rows import arrow_rows
from revlm.direction import Direction
from revlm.errors import UserError, first_line
from revlm.progress import track

# Enters every key: raise it when the same corpus and tokenizer would give other ids.
CODE_VERSION = 1

BOS, PAD = "<|bos|>", "<|pad|>"
TAGS = {Direction.FORWARD: "<|forward|>", Direction.REVERSE: "<|reverse|>"}
WORD_MARKS = ("\u2581", "\u0120")  # SentencePiece, byte-level BPE
SENTENCE_END = re.compile("[.!?\u2026\u3002\uff01\uff1f\u061f]['\")\\]\u201d\u2019]*\\s*$|\n\\s*$")


def train_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE: every byte is a token, so no text is out of vocabulary.

    Args:
        texts: the training split only; held-out text must not shape the vocabulary.
        vocab_size: at least 260: 256 bytes and four special tokens.

    Raises:
        UserError: the vocabulary cannot hold all bytes.
    """
    specials = [BOS, PAD, *TAGS.values()]
    if vocab_size < 256 + len(specials):
        raise UserError(f"tokenizer.vocab_size={vocab_size} cannot hold all bytes: set it to 260 or more.")
    core, cutter = _byte_level(), Cutter(_byte_level())
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # A tokenizer that is being trained cannot cut.
    core.train_from_iterator((piece for text in texts for piece in cutter.pieces(text)), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=BOS, pad_token=PAD)


def _byte_level() -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return core


def load_tokenizer(path: str, *, begin: str | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer from a hub id, a folder, or a GGUF file.

    Args:
        path: of it.
        begin: the token that stands before every row, for a tokenizer that names none.

    Raises:
        UserError: it cannot be read, is not a fast one, or does not know the token.
    """
    options: dict[str, str] = {}
    if path.endswith(".gguf"):
        path, options["gguf_file"] = str(Path(path).parent), Path(path).name
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
    except Exception as error:
        # Absent, cut short, no JSON: each library says so in its own way.
        raise UserError(
            f"no tokenizer could be read from {path} ({first_line(error)}): "
            "name a hub id, a folder or a .gguf file with tokenizer.path=."
        ) from error
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"the tokenizer of {path} has no fast version: choose one that does.")
    if begin is not None:
        if begin not in tokenizer.get_vocab():
            raise UserError(
                f"the tokenizer of {path} has no token {begin!r}: name one of its tokens with tokenizer.begin=."
            )
        tokenizer.bos_token = begin
    return cast(PreTrainedTokenizerFast, tokenizer)


def begin_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """Id of the token that stands before every row: BOS, or end-of-text where there is none.

    Raises:
        UserError: the tokenizer has neither.
    """
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    if begin is None:
        raise UserError(
            "the tokenizer has neither a begin nor an end token: name one of its tokens with tokenizer.begin=, such as "
            "tokenizer.begin=[CLS]."
        )
    return int(begin)


def pad_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """Id that fills rows; it is never a target and nothing ever attends to it."""
    return int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else begin_id(tokenizer)


def num_ids(tokenizer: PreTrainedTokenizerFast) -> int:
    """Largest id + 1. A vocabulary may have holes, so this can be more than the number of its tokens."""
    return int(max(tokenizer.get_vocab().values())) + 1


def add_tags(tokenizer: PreTrainedTokenizerFast) -> dict[Direction, int]:
    """Ids of the direction tags, added behind all others where the vocabulary lacks them.

    Raises:
        UserError: the vocabulary has holes, and is of a kind in which no id can be chosen.
    """
    taken = {number: token for token, number in tokenizer.get_vocab().items()}
    tags = [AddedToken(tag, special=True) for tag in TAGS.values()]
    holes = len(taken) <= max(taken) and not set(TAGS.values()) <= set(taken.values())
    if holes:
        # The library would give them the number of tokens as ids, which ordinary tokens have.
        tokenizer._tokenizer = _with_ids_behind(tokenizer, max(taken) + 1)  # noqa: SLF001
    tokenizer.add_tokens(tags)
    ids = {direction: int(tokenizer.convert_tokens_to_ids(tag)) for direction, tag in TAGS.items()}
    for direction, number in ids.items():
        if taken.get(number, TAGS[direction]) != TAGS[direction]:
            raise UserError(
                f"the tokenizer has no free id for {TAGS[direction]} (its ids have holes): train with direction.tag=false."
            )
    return ids


def _with_ids_behind(tokenizer: PreTrainedTokenizerFast, first: int) -> Tokenizer:
    """The tokenizer's core with the tags in its vocabulary, where that says each token's id."""
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    if isinstance(core["model"].get("vocab"), dict):
        core["model"]["vocab"] |= {tag: first + at for at, tag in enumerate(TAGS.values())}
    return Tokenizer.from_str(json.dumps(core))


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Hash of everything that turns text into ids."""
    return digest(tokenizer.backend_tokenizer.to_str())


def unit_starts(tokenizer: PreTrainedTokenizerFast) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For each token id: does it begin a word; does it end a sentence.

    A property of single tokens, so that units need no text: a word begins with white space, a
    sentence ends with a full stop or a line break ("3." at a window's end counts as one).

    Returns:
        two (V,) arrays.
    """
    tokens = list(range(num_ids(tokenizer)))
    pieces = [tokenizer.decode([token]) for token in tokens]
    begins_word = [piece[:1].isspace() for piece in pieces]
    # Decoders drop the leading space of a piece that marks it with an underline.
    marked = [str(token).startswith(WORD_MARKS) for token in tokenizer.convert_ids_to_tokens(tokens)]
    ends_sentence = [SENTENCE_END.search(piece) is not None for piece in pieces]
    return np.logical_or(begins_word, marked), np.array(ends_sentence)


@dataclass(frozen=True)
class TokenIds:
    """Token ids of D documents, without special tokens.

    Attributes:
        ids: (total,) ids of all documents, one after the other.
        offsets: (D + 1,) document d holds ids[offsets[d]:offsets[d + 1]].
    """

    ids: npt.NDArray[np.integer]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, documents: Iterable[npt.ArrayLike]) -> TokenIds:
        """The ids of each document, as int64 in memory."""
        parts = [np.empty(0, dtype=np.int64), *(np.asarray(ids, dtype=np.int64) for ids in documents)]
        return TokenIds(np.concatenate(parts), np.cumsum([len(part) for part in parts]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def document(self, index: int) -> npt.NDArray[np.integer]:
        """Ids of one document."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def take(self, documents: npt.NDArray[np.int64]) -> TokenIds:
        """Some of the documents, in the order given."""
        return TokenIds.of(self.document(int(d)) for d in documents)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(D,) tokens of each document."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class TokenStore(TokenIds):
    """Token ids of a corpus's documents, memory-mapped; documents have two tokens or more.

    Attributes:
        rows: (D,) each document's row in the corpus.
        hashes: (D,) uint64 hash of each document's id, the seed of all its choices.
        held_out: (D,) true for validation documents.
        skipped: documents left out, by reason.
        fingerprint: hash of corpus, tokenizer, split and code version.
    """

    rows: npt.NDArray[np.int64]
    hashes: HashArray
    held_out: npt.NDArray[np.bool_]
    skipped: dict[str, int]
    fingerprint: str


def plain_tokenizer(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """The tokenizer's core, which turns text into the ids of its body and nothing else.

    It neither pads nor cuts, and text that spells a special token stays text.
    """
    core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    core.no_padding()
    core.no_truncation()
    core.encode_special_tokens = True
    return core


def encode(core: Tokenizer, texts: Iterable[str]) -> TokenIds:
    """Ids of some texts; see `plain_tokenizer`. Who asks again and again keeps an `Encoder`."""
    return TokenIds.of(Encoder(core)(texts))


def build_store(
    dataset: Dataset,
    held_out: npt.NDArray[np.bool_],
    tokenizer: PreTrainedTokenizerFast,
    *,
    corpus_fingerprint: str,
    cache_dir: Path,
) -> TokenStore:
    """Tokenise a corpus once; later calls, and other processes, open what is there.

    Memory stays flat: text passes in batches of a few megabytes, ids go straight to disk, and
    the tokenizer's threads share each batch.

    Args:
        dataset: documents with `doc_id` and `text`.
        held_out: (rows of dataset,) true for validation.
        tokenizer: its special tokens are never made from text.
        corpus_fingerprint: see `Corpus`.
        cache_dir: where stores live.
    """
    split = hashlib.sha256(np.packbits(held_out).tobytes()).hexdigest()
    key = digest(CODE_VERSION, corpus_fingerprint, tokenizer_fingerprint(tokenizer), split)
    folder = cache_dir / "tokens" / key
    with atomic_folder(folder) as building:
        if building is not None:
            _write_store(building, dataset, held_out, tokenizer)
    return _open_store(folder, key)


def _write_store(
    folder: Path, dataset: Dataset, held_out: npt.NDArray[np.bool_], tokenizer: PreTrainedTokenizerFast
) -> None:
    encoder = Encoder(plain_tokenizer(tokenizer))
    dtype = np.uint16 if num_ids(tokenizer) <= np.iinfo(np.uint16).max + 1 else np.uint32
    # Of all documents, those that are left out included; arrays, which take eight bytes each.
    lengths, hashes = array("q"), [document_hashes([])]

    def texts() -> Iterator[str]:
        for rows in arrow_rows(dataset, ["doc_id", "text"]):
            hashes.append(document_hashes(rows["doc_id"].to_pylist()))
            yield from (text.as_py() for text in rows["text"])

    with (folder / "ids.bin").open("wb") as file, track("tokens", len(dataset), "documents") as bar:
        for ids in encoder(texts(), dtype):
            lengths.append(len(ids))
            if len(ids) > 1:
                file.write(ids.tobytes())
            bar.update()
    sizes = np.array(lengths)
    kept = np.flatnonzero(sizes > 1)
    if not len(kept):
        raise UserError("the corpus has no document of two tokens or more: give longer documents.")
    np.savez(
        folder / "documents.npz",
        offsets=np.concatenate(([0], np.cumsum(sizes[kept]))),
        rows=kept,
        hashes=np.concatenate(hashes)[kept],
        held_out=held_out[kept],
    )
    short = len(sizes) - len(kept)
    meta = {"dtype": np.dtype(dtype).name, "skipped": {"one token": short} if short else {}}
    (folder / "store.json").write_text(json.dumps(meta))


def _open_store(folder: Path, key: str) -> TokenStore:
    meta = json.loads((folder / "store.json").read_text())
    with np.load(folder / "documents.npz") as arrays:
        documents = dict(arrays)
    ids = np.memmap(folder / "ids.bin", dtype=meta["dtype"], mode="r")
    if len(ids) != documents["offsets"][-1]:
        raise UserError(f"{folder} is damaged (a crash while it was written?): remove it and start again.")
    return TokenStore(ids=ids, skipped=meta["skipped"], fingerprint=key, **documents)
