"""A corpus: documents of any source, checked once and kept as one memory-mapped Arrow file."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from revlm.cache import atomic_folder, digest
from revlm.config import CorpusConfig, Part, Source, Unreadable
from revlm.data.caps import CAPS, Caps
from revlm.data.controls import base_source, read_arrow, read_markov, read_shuffled_words
from revlm.data.damage import damaged
from revlm.data.document import Document, beginning, check_text, nearest
from revlm.data.files import find_files, read_files
from revlm.data.hub import read_hub
from revlm.data.reading import Reading
from revlm.data.sample import CATALOGUES, read_sample, require_packages, sample_sources
from revlm.data.split import is_held_out
from revlm.errors import UserError
from revlm.progress import track

__all__ = ["Corpus", "Document", "load_corpus"]

_SCHEMA = pa.schema([(name, pa.string()) for name in Document._fields])
_BATCH_BYTES = 8_000_000
_BATCH_DOCUMENTS = 4096
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
# Each is handed what counts its reading.
_READERS: dict[Source, Callable[[CorpusConfig, Reading], Iterator[Document]]] = {
    Source.sample: lambda config, _: read_sample(config),
    Source.labelled: lambda config, _: read_sample(config, Source.labelled),
    Source.files: read_files,
    Source.hub: read_hub,
    Source.shuffled_words: read_shuffled_words,
    Source.markov: read_markov,
    Source.arrow: lambda config, _: read_arrow(config),
}
# Made to measure; data.domains speaks of what they are made from.
_GENERATED = {Source.markov, Source.arrow}


@dataclass(frozen=True)
class Corpus:
    """Documents on disk.

    Attributes:
        dataset: columns doc_id, text, domain, language, label; memory-mapped.
        fingerprint: hash of all (doc_id, text, domain, language) in order; the same on every
            machine and under every path.
        skipped: why documents were left out, and how many: "empty" ones and exact "duplicate"s.
        unreadable: a line for each damaged file, with `data.unreadable=skip`.
        read: what was read and what was passed over; see `Reading.facts`.
    """

    dataset: datasets.Dataset
    fingerprint: str
    skipped: dict[str, int]
    unreadable: list[str]
    read: dict[str, Any]


def load_corpus(config: CorpusConfig, cache_dir: Path) -> Corpus:
    """The corpus that the options describe, built once and opened from the cache afterwards.

    Documents keep the order in which they are read: catalogue order, file name and row, or stream.
    Caps of sample, labelled and files keep documents in the order of a hash of their id, so that the choice
    depends on no order of files and a smaller cap keeps a subset of what a larger one keeps (apart
    from documents larger than the cap, which are passed over). They need two passes over the
    source. Caps of the hub, and of text that is made, keep the beginning and read no further than needed.

    Memory is flat in the size of texts: a document costs a few hundred bytes while a corpus is built.

    Raises:
        UserError: bad input, an unknown domain, an empty corpus, no space left.
    """
    folder = cache_dir / "corpora" / _key(config)
    try:
        with atomic_folder(folder) as building:
            if building is not None:
                _build(config, building)
        corpus = _open(folder)
    except OSError as error:
        if error.errno in _NO_ACCESS:
            raise UserError(
                f"{folder.parent} cannot be written ({error}): set cache.dir to a folder that can."
            ) from error
        if error.errno not in _NO_SPACE:
            raise
        free = shutil.disk_usage(_existing(cache_dir)).free
        raise UserError(
            f"no space left in {folder.parent} ({free} bytes free): free some, set cache.dir to a folder "
            "on a larger disk, or read less with data.max_bytes."
        ) from error
    if config.unreadable is Unreadable.refuse:
        # It may have been built by a command that skips.
        for line in (*corpus.unreadable, *corpus.read["first_left_out"].values()):
            raise UserError(line)
    return corpus


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _open(folder: Path) -> Corpus:
    try:
        facts = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        dataset = datasets.Dataset.from_file(str(folder / "corpus.arrow"))
        corpus = Corpus(dataset, facts["fingerprint"], facts["skipped"], facts["unreadable"], facts["read"])
        whole = len(dataset) == facts["documents"]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{folder} is damaged: delete it, and the next run builds it again.") from error
    if not whole:
        raise UserError(f"{folder} is damaged: delete it, and the next run builds it again.")
    return corpus


def _key(config: CorpusConfig) -> str:
    """Everything that decides what the corpus holds, the code that reads it included."""
    here = Path(__file__).parent
    base = base_source(config)
    is_control = base is not config.source
    packaged = base in CATALOGUES
    reader = "sample" if packaged else base and base.value
    readers = ([reader] if reader else []) + (["controls"] if is_control else [])
    readers += ["lines", "tables", "../paths"] if base is Source.files else []
    code = [
        here / f"{name}.py" for name in ("corpus", "caps", "damage", "document", "hashes", "split", *readers)
    ]
    if packaged:
        code += sorted((here / "samples").glob("*.py"))
    caps = [*(getattr(config, name) for name in CAPS), config.max_bytes_per_document]
    part = None if config.part is Part.all else (config.part.value, config.val_fraction)
    damages = [kind.value for kind in config.damage or ()]
    seed = config.seed if is_control or damages else None
    options = (config.source.value, config.language, config.domains, caps, part, damages, seed)
    return digest(options, _origin(config), [hashlib.sha256(path.read_bytes()).hexdigest() for path in code])


def _origin(config: CorpusConfig) -> list[Any]:
    """What decides the text of a source beside the code that reads it: a source must say so here, or grow stale."""
    base = base_source(config)
    if base is None:
        return []
    if base in CATALOGUES:
        sources = sample_sources(config.language, config.domains, base)
        require_packages(sources, base)
        return sorted({source.requirement for source in sources})
    columns = [config.text, config.id, config.domain, config.label]
    if base is Source.files:
        # A link to nowhere is reported when it is opened.
        stats = [(f, f.path.stat() if f.path.exists() else f.path.lstat()) for f in find_files(config)]
        return [
            columns,
            [(str(f.path.absolute()), f.name, f.format.value, s.st_size, s.st_mtime_ns) for f, s in stats],
        ]
    assert base is Source.hub, base
    local = Path(config.path or "")
    inside = (
        sorted(path for path in local.rglob("*") if path.is_file()) if config.path and local.is_dir() else []
    )
    stamps = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in inside]
    return [columns, config.path, config.name, config.split, config.revision, stamps]


def _build(config: CorpusConfig, folder: Path) -> None:
    caps = Caps(config)
    skipped, reading = {"empty": 0, "duplicate": 0}, Reading()
    if config.source is Source.hub or config.source in _GENERATED:
        documents = _beginning(caps, _checked(config, skipped, reading))
    elif caps.any:
        chosen = _chosen(caps, skipped, reading)
        again = enumerate(_checked(config, {"empty": 0, "duplicate": 0}, Reading()))
        documents = (document for number, document in again if number < len(chosen) and chosen[number])
    else:
        documents = _checked(config, skipped, reading)
    if config.damage:
        documents = damaged(documents, config.damage, config.seed)
    facts = _write(documents, folder / "corpus.arrow")
    if not facts["documents"]:
        for line in (*reading.unreadable, *reading.first_left_out.values()):
            raise UserError(line)
        raise UserError(
            f"data={config.source.value} gives an empty corpus ({skipped['empty']} empty and "
            f"{skipped['duplicate']} duplicate documents were skipped): check data.path, data.text and "
            "data.domains, and raise data.max_bytes_per_domain, data.max_bytes or data.max_documents."
        )
    (folder / "corpus.json").write_text(
        json.dumps({**facts, "skipped": skipped, "unreadable": reading.unreadable, "read": reading.facts()}),
        encoding="utf-8",
    )


def _checked(config: CorpusConfig, skipped: dict[str, int], reading: Reading) -> Iterator[Document]:
    """Documents of the chosen domains, each content once; counts what it drops in `skipped`."""
    ids: set[bytes] = set()
    contents: set[bytes] = set()
    domains: set[str] = set()
    wanted = _wanted(config)
    for whole in _tracked(_READERS[config.source](config, reading)):
        domains.add(whole.domain)
        if wanted and whole.domain not in wanted:
            continue
        check_text(whole.text, whole.doc_id)
        # Files are checked where both places can be named.
        if config.source is not Source.files:
            _add_id(ids, whole.doc_id, config)
        if not _in_part(whole, config):
            continue
        document = whole._replace(text=beginning(whole.text, config.max_bytes_per_document))
        content = hashlib.blake2b(document.text.encode(), digest_size=16).digest()
        if not document.text.strip():
            skipped["empty"] += 1
        elif content in contents:
            skipped["duplicate"] += 1
        else:
            contents.add(content)
            yield document
    for domain in wanted:
        if domain not in domains:
            raise UserError(
                f"data.domains: no document has the domain {domain!r}: {nearest(domain, domains)}"
            )


def _in_part(document: Document, config: CorpusConfig) -> bool:
    if config.part is Part.all:
        return True
    return is_held_out(document.text, config.val_fraction) is (config.part is Part.held_out)


def _wanted(config: CorpusConfig) -> list[str]:
    """Domains to keep of what the reader gives; none: all."""
    return [] if config.source in _GENERATED else config.domains or []


def _tracked(documents: Iterable[Document]) -> Iterator[Document]:
    with track("reading documents", None, "documents") as bar:
        for document in documents:
            yield document
            bar.update()


def _add_id(ids: set[bytes], doc_id: str, config: CorpusConfig) -> None:
    key = hashlib.blake2b(doc_id.encode(), digest_size=16).digest()
    if key in ids:
        raise UserError(
            f"data={config.source.value}: id {doc_id!r} occurs twice: make ids unique, "
            "or leave data.id empty to number the rows."
        )
    ids.add(key)


def _chosen(caps: Caps, skipped: dict[str, int], reading: Reading) -> npt.NDArray[np.bool_]:
    """Which of the checked documents the caps keep: a first pass over ids and sizes."""
    order: list[tuple[int, int]] = []
    sizes: list[int] = []
    domains: list[str] = []
    names: dict[str, str] = {}
    for number, document in enumerate(_checked(caps.config, skipped, reading)):
        hashed = hashlib.blake2b(document.doc_id.encode(), digest_size=8).digest()
        order.append((int.from_bytes(hashed, "big"), number))
        sizes.append(len(document.text.encode()))
        domains.append(names.setdefault(document.domain, document.domain))
    chosen = np.zeros(len(order), dtype=np.bool_)
    for _, number in sorted(order):
        chosen[number] = caps.admit(domains[number], sizes[number])
    return chosen


def _beginning(caps: Caps, documents: Iterator[Document]) -> Iterator[Document]:
    """What the caps keep of a stream, which is read no further than needed."""
    config = caps.config
    for document in documents:
        if caps.admit(document.domain, len(document.text.encode())):
            yield document
        domains = _wanted(config)
        by_column = config.domain and config.source not in _GENERATED
        wanted = set(domains) if domains else None if by_column else {document.domain}
        if caps.full or (wanted is not None and wanted <= caps.full_domains):
            return


def _write(documents: Iterable[Document], path: Path) -> dict[str, Any]:
    """Write documents in batches; returns how many, their bytes and the fingerprint."""
    hasher = hashlib.blake2b(digest_size=16)
    count, size, batch, batch_bytes = 0, 0, list[Document](), 0
    with path.open("wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
        for document in documents:
            for part in (document.doc_id, document.text, document.domain, document.language):
                encoded = part.encode()
                hasher.update(len(encoded).to_bytes(8, "little") + encoded)
            batch.append(document)
            batch_bytes += len(document.text.encode())
            count += 1
            if batch_bytes >= _BATCH_BYTES or len(batch) >= _BATCH_DOCUMENTS:
                writer.write_batch(_record_batch(batch))
                size, batch, batch_bytes = size + batch_bytes, [], 0
        if batch:
            writer.write_batch(_record_batch(batch))
    return {"documents": count, "bytes": size + batch_bytes, "fingerprint": hasher.hexdigest()}


def _record_batch(documents: list[Document]) -> pa.RecordBatch:
    return pa.record_batch([list(column) for column in zip(*documents, strict=True)], schema=_SCHEMA)
