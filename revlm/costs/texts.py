"""The text of a run: its own where that is prepared already, else made up, with its size read off the options."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from revlm.cache import NotPreparedError, only_finished
from revlm.config import CorpusConfig, Packing, Part, Source, TrainConfig
from revlm.costs.arithmetic import numbers_tokenizer
from revlm.data.corpus import Corpus
from revlm.data.datamodule import TokenStreamDataModule
from revlm.data.files import find_files
from revlm.data.layout import Layout
from revlm.data.order import document_hashes
from revlm.data.reading import Reading
from revlm.data.tokens import TokenIds, TokenStore
from revlm.data.windows import cut_windows
from revlm.direction import Direction
from revlm.training.build import build_datamodule, datamodule_of

# Lengths of made-up documents: the sample's, by their logarithms.
MEDIAN_TOKENS, SPREAD = 350, 1.0
# Bytes of text behind a token: of a small vocabulary, and of one of 32,000 and more.
BYTES_PER_TOKEN, LARGE, BYTES_PER_TOKEN_LARGE = 3.5, 32_000, 4.4
# Bytes a second on two cores: reading and checking documents, training a BPE, turning text into ids.
READING, TRAINING_BPE, TOKENISING = 15e6, 2.5e6, 3e6
# By how much a compressed file grows.
UNPACKED = 3.5
COMPRESSED = (".gz", ".zst", ".xz", ".bz2", ".parquet")
# Bytes of a document where nothing says how long it is.
DOCUMENT_BYTES = 2_000
# Made up of a text: enough for a probe.
MADE_UP_BATCHES, MOST_TOKENS = 40, 3_000_000
# What the sample has in all, a language; only caps can make it less.
SAMPLE_BYTES = 35e6


@dataclass(frozen=True)
class Text:
    """What a training run reads.

    Attributes:
        data: opened: its store is the run's own, or made up.
        prepared: whether it is the run's own.
        seconds: that it takes to open, or to prepare.
        num_bytes: of the corpus.
        val_tokens: held-out body tokens that a validation reads, in either direction.
        val_rows: rows that they fill.
    """

    data: TokenStreamDataModule
    prepared: bool
    seconds: float
    num_bytes: float
    val_tokens: float
    val_rows: float


def open_text(config: TrainConfig, vocabulary: int, *, look: bool) -> Text:
    """The run's text if it lies in the cache, else a made-up one. Nothing is written.

    Args:
        config: of the run.
        vocabulary: ids of the made-up one.
        look: whether to look into the cache at all.

    Raises:
        UserError: the options name no text that there is.
    """
    if look:
        started = time.perf_counter()
        try:
            with only_finished():
                data = build_datamodule(config)
                data.open()
                data.setup("fit")
        except NotPreparedError:
            pass
        else:
            stream = data.val_streams[0]
            size = float(data.corpus.dataset.data.nbytes)
            seconds = time.perf_counter() - started
            tokens = float(stream.windows.length.sum())
            return Text(data, True, seconds, size, tokens, float(len(stream.rows)))
    return _made_up_text(config, vocabulary)


def made_up(config: TrainConfig, vocabulary: int, num_tokens: int) -> TokenStreamDataModule:
    """An opened datamodule with documents of random ids: a tenth of them held out, as long as the sample's."""
    tokenizer = numbers_tokenizer(vocabulary)
    tags = {direction: 2 + direction.number for direction in Direction} if config.direction.tag else {}
    layout = Layout.of(
        tokenizer, window=config.data.window, packed=config.data.packing is Packing.packed, tags=tags
    )
    ids = made_up_ids(vocabulary, num_tokens)
    corpus = Corpus(
        Dataset.from_dict({"doc_id": [str(number) for number in range(len(ids))]}),
        "made up",
        {},
        [],
        Reading().facts(),
    )
    return with_text(config, corpus, tokenizer, _store(ids, config.data.val_fraction), layout)


def with_text(
    config: TrainConfig, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, store: TokenStore, layout: Layout
) -> TokenStreamDataModule:
    """A datamodule that is open already: for other options, over text that is there."""
    data = datamodule_of(config)
    data.corpus, data.tokenizer, data.store, data.layout = corpus, tokenizer, store, layout
    data.opened = True
    return data


def again(config: TrainConfig, data: TokenStreamDataModule) -> TokenStreamDataModule:
    """The same text under other options."""
    return with_text(config, data.corpus, copy.deepcopy(data.tokenizer), data.store, data.layout)


def made_up_ids(vocabulary: int, num_tokens: int) -> TokenIds:
    """Documents of random ids with some `num_tokens` in all, twenty at least."""
    rng = np.random.default_rng(0)
    mean = MEDIAN_TOKENS * np.exp(SPREAD**2 / 2)
    lengths = (
        np.exp(rng.normal(np.log(MEDIAN_TOKENS), SPREAD, max(20, int(num_tokens / mean)))).astype(np.int64)
        + 2
    )
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    # The first ids are the tokenizer's own.
    first = min(4, vocabulary - 1)
    return TokenIds(rng.integers(first, vocabulary, int(offsets[-1])), offsets)


def bytes_per_token(vocabulary: int) -> float:
    """Of English text, roughly."""
    return BYTES_PER_TOKEN_LARGE if vocabulary >= LARGE else BYTES_PER_TOKEN


def corpus_bytes(config: CorpusConfig) -> float:
    """Bytes of text that the options can bring at most, from caps and the sizes of files; reads no text.

    Infinite for a stream without caps.

    Raises:
        UserError: `data.path` names no file.
    """
    most = config.max_bytes or np.inf
    if config.max_documents:
        most = min(most, config.max_documents * (config.max_bytes_per_document or DOCUMENT_BYTES))
    if config.max_bytes_per_domain and config.domains:
        most = min(most, config.max_bytes_per_domain * len(config.domains))
    share = {Part.all: 1.0, Part.held_out: config.val_fraction, Part.training: 1 - config.val_fraction}
    return float(min(most, share[config.part] * _source_bytes(config)))


def _source_bytes(config: CorpusConfig) -> float:
    """Bytes before any cap."""
    if config.source is Source.hub:
        return np.inf
    if config.source is not Source.files:
        return SAMPLE_BYTES
    files = [file.path for file in find_files(config) if file.path.exists()]
    return sum(path.stat().st_size * (UNPACKED if path.suffix in COMPRESSED else 1) for path in files)


def preparing_seconds(config: CorpusConfig, num_bytes: float, *, bpe_bytes: float = 0) -> float:
    """Of reading documents, training a tokenizer and making ids: by usual rates, no measurement.

    Args:
        config: of the corpus: caps choose in a pass of their own, and a stream is read no further than needed.
        num_bytes: of the corpus.
        bpe_bytes: of it that a BPE of one's own sees.
    """
    capped = config.max_bytes or config.max_bytes_per_domain or config.max_documents
    read = min(num_bytes if config.source is Source.hub else np.inf, _source_bytes(config))
    passes = 2 if capped and config.source is not Source.hub else 1
    return read * passes / READING + bpe_bytes / TRAINING_BPE + num_bytes / TOKENISING


def _made_up_text(config: TrainConfig, vocabulary: int) -> Text:
    size = corpus_bytes(config.data)
    fraction = config.data.val_fraction
    held_out = size / bytes_per_token(vocabulary) * fraction
    limit = config.data.max_val_tokens
    tokens = min(held_out, np.inf if limit is None else limit)
    if not np.isfinite(size):
        # As much as the run reads, once; a stream is read no further.
        size = config.budget.tokens * bytes_per_token(vocabulary)
        tokens = min(tokens, config.budget.tokens * fraction)
    rows = config.budget.micro_batch_size or config.budget.batch_size
    data = made_up(config, vocabulary, min(MOST_TOKENS, MADE_UP_BATCHES * rows * config.data.window))
    lengths = cut_windows(data.store, np.arange(len(data.store)), config.data.window).length
    layout = data.layout
    share = (lengths + layout.prefix).sum() / lengths.sum() / layout.row_length
    val_rows = tokens * share if layout.packed else tokens / lengths.mean()
    own_bpe = not (config.tokenizer.path or config.init.kind.value == "pretrained")
    bpe = min(size * (1 - fraction), config.tokenizer.max_bytes) if own_bpe else 0
    return Text(
        data,
        False,
        preparing_seconds(config.data, size, bpe_bytes=bpe),
        size,
        float(tokens),
        float(np.ceil(val_rows)),
    )


def _store(ids: TokenIds, val_fraction: float) -> TokenStore:
    count = len(ids)
    held_out = np.zeros(count, dtype=np.bool_)
    held_out[:: max(2, round(1 / val_fraction))] = True
    return TokenStore(
        ids=ids.ids,
        offsets=ids.offsets,
        rows=np.arange(count),
        hashes=document_hashes(str(number) for number in range(count)),
        held_out=held_out,
        skipped={},
        fingerprint="made up",
    )
