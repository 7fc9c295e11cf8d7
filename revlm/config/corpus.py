"""A corpus, and how training turns it into rows of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from revlm.config.marks import PATH


class Source(StrEnum):
    """Where documents come from."""

    sample = "sample"  # text inside pinned packages, installed once, read by path
    labelled = "labelled"  # text with gold labels of quality inside pinned packages; never for training
    files = "files"  # JSONL, CSV, Parquet, Arrow or plain text by glob
    hub = "hub"  # a dataset on the Hugging Face hub, or a local folder of one
    # Null controls. The first two are made from a base text: the sample, or the files of data.path.
    shuffled_words = "shuffled_words"  # each document's words in an order without meaning
    markov = "markov"  # a stationary chain of frequent words: S = 0 in truth
    arrow = "arrow"  # easier to learn forward, by construction


class TextFormat(Enum):
    """How `data=files` reads a file; `auto` goes by the name's ending."""

    auto = "auto"
    jsonl = "jsonl"
    csv = "csv"  # by tabs where the name says tsv
    parquet = "parquet"
    arrow = "arrow"  # a stream of batches, as Dataset.save_to_disk writes it
    text = "text"


class Packing(Enum):
    """How windows become rows of equal length."""

    packed = "packed"  # several windows in a row, none sees another
    padded = "padded"  # one window in a row, filled with padding


class Granularity(Enum):
    """What is reversed as a unit."""

    token = "token"  # noqa: S105 -- the paper's reversal
    word = "word"
    sentence = "sentence"
    segment = "segment"  # runs of data.segment_tokens tokens


class Part(Enum):
    """A side of the split that training makes."""

    all = "all"
    training = "training"
    held_out = "held_out"


class Damage(Enum):
    """A way in which a copy of a document is worse than it."""

    word_shuffle = "word_shuffle"
    sentence_shuffle = "sentence_shuffle"
    repetition = "repetition"
    truncation = "truncation"
    ocr = "ocr"  # characters taken for others that look alike, or lost


class Unreadable(Enum):
    """What to do about a damaged file of `data=files`, and about a row that holds no usable text."""

    refuse = "refuse"
    # Read what can be read: rows are left out and counted; a damaged file is named, and the exit code tells.
    skip = "skip"


@dataclass
class CorpusConfig:
    """Which documents."""

    source: Source = Source.sample
    language: str = "en"
    # Keep only these domains; null keeps all. markov: of the base text.
    domains: list[str] | None = None
    # Which side of the split that training makes of the same text. It goes by the content of whole
    # documents alone, so whatever else is chosen, no document ever changes sides.
    part: Part = Part.all
    # Share of documents held out, decided before directions exist; training: above 0.
    val_fraction: float = 0.1
    # Keep of each document its beginning, up to the last white space within so many bytes.
    max_bytes_per_document: int | None = None
    # Leave out what max_bytes_per_domain would keep with this value: text that is new to a model
    # which was trained on that.
    without_bytes_per_domain: int | None = None
    # Caps count UTF-8 bytes of text. Which documents stay is decided by a hash of their id; of a
    # stream from the hub, and of text made by markov and arrow, the beginning stays.
    max_bytes_per_domain: int | None = None
    max_bytes: int | None = None
    max_documents: int | None = None
    # files, shuffled_words, markov: a glob. hub: a dataset id or a local folder.
    path: str | None = field(default=None, metadata=PATH)
    format: TextFormat = TextFormat.auto
    unreadable: Unreadable = Unreadable.refuse
    # Put behind each document copies that are damaged in these ways, each at three levels; not
    # for training. The label says which.
    damage: list[Damage] | None = None
    # Of the choices that damage, shuffled_words, markov and arrow make.
    seed: int = 0
    # hub: the dataset's configuration and split.
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    # Column names; a dot descends into a nested field. A selection.parquet names its own. Several, such as
    # [title,body], make a text with a blank line between them.
    text: Any = "text"
    # null: the column doc_id, or else id, where there is one; '' numbers the rows.
    id: str | None = None
    domain: str | None = None
    label: str | None = None


@dataclass
class DataConfig(CorpusConfig):
    """A corpus, and how training makes rows of it."""

    # Body tokens in a window; a row is one token longer, for BOS.
    window: int = 256
    packing: Packing = Packing.packed
    granularity: Granularity = Granularity.token
    segment_tokens: int = 8
    # Held-out body tokens that each validation reads, in either direction; null reads all.
    max_val_tokens: int | None = 50_000
    num_workers: int = 0
