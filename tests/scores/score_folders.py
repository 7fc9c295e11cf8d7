"""Folders of scoring runs as `python -m revlm.score` leaves them: real texts, planted numbers."""

import csv
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from revlm.config import CurvesConfig
from revlm.measures.crossing import Curves, intersection
from revlm.scores.table import SCHEMA, SCORES, SUMMARY, with_metadata, write_table

RULE = CurvesConfig(resamples=100)
ABOUT = {
    "model": "planted", "directions": ["forward", "reverse"], "parameters": 1_000_000,
    "tokenizer_fingerprint": "3fa2", "corpus_fingerprint": "c0ffee", "data": "sample", "window": 64,
    "begin_token": "<s>", "min_tokens": 1, "smoothing": RULE.smoothing, "hold": RULE.hold,
}  # fmt: skip


def documents(corpus, *, times=1, domains=None, languages=None):
    """Columns of a score table that follow from texts, several times over under new ids.

    Args:
        corpus: of the fixture.
        times: copies of each document.
        domains, languages: names dealt out to the documents in turn, in place of their own.
    """
    rows = corpus.dataset.to_dict()
    count = len(rows["doc_id"]) * times
    texts = [text.encode() for text in rows["text"]] * times
    columns = {name: rows[name] * times for name in ("domain", "language")}
    for name, values in (("domain", domains), ("language", languages)):
        if values:
            columns[name] = [values[row % len(values)] for row in range(count)]
    return columns | {
        "doc_id": [f"{doc}#{copy}" for copy in range(times) for doc in rows["doc_id"]],
        "num_tokens": np.asarray([max(1, len(text) // 4) for text in texts]),
        "num_bytes": np.asarray([len(text) for text in texts]),
        "compression_ratio": np.asarray([len(zlib.compress(text, 6)) / len(text) for text in texts]),
        "type_token_ratio": np.asarray([len(set(text)) / len(text) for text in texts]),
        "repeated_ngrams": np.zeros(count),
        "label": np.full(count, None),
    }


def plain_s(columns, seed=0, *, by_domain=0.02):
    """S that depends on the domain and on chance."""
    rng = np.random.default_rng(seed)
    names = sorted(set(columns["domain"]))
    shift = np.asarray([names.index(name) - (len(names) - 1) / 2 for name in columns["domain"]])
    return by_domain * shift + rng.standard_t(5, len(shift)) * 0.05


def write_scores(path, columns, s, *, nll=None, seed=0, about=None):
    """A score table with planted S; the mean of both losses is a number of its own, so S is not in it."""
    rng = np.random.default_rng(seed + 1)
    mean = 4.2 + rng.normal(0, 0.4, len(s)) if nll is None else np.asarray(nll)
    forward, reverse = mean + s / 2, mean - s / 2
    bits = columns["num_tokens"] / columns["num_bytes"] / np.log(2)
    crossing = np.where(rng.random(len(s)) < 0.4, np.nan, rng.integers(0, 60, len(s)))
    filled = columns | {
        "nll_forward": forward, "nll_reverse": reverse, "s": s, "s_without_first": s * 1.01,
        "intersection": crossing, "bits_per_byte_forward": forward * bits, "bits_per_byte_reverse": reverse * bits,
    }  # fmt: skip
    arrays = [pa.array(np.asarray(filled[f.name]), from_pandas=True).cast(f.type) for f in SCHEMA]
    batch = pa.record_batch(arrays, schema=SCHEMA)
    write_table(Path(path), [batch], with_metadata(SCHEMA, ABOUT | (about or {})))
    return Path(path)


def write_score_run(folder, columns, s=None, *, seed=0, about=None, crossings=True, window=64):
    """A finished scoring run; every second domain's curves cross, unless `crossings` is false."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    about = ABOUT | {"window": window} | (about or {})
    s = plain_s(columns, seed) if s is None else s
    write_scores(folder / SCORES, columns, s, seed=seed, about=about)
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"model": {"path": about["model"]}, "shard_tokens": 200_000})
    )
    (folder / "identity.json").write_text(json.dumps({"model": about["model"]}))
    domain, tokens = np.asarray(columns["domain"]), columns["num_tokens"]
    names = sorted(set(columns["domain"]))
    curves = {
        name: _curves(i, seed, len(domain) if name == "all" else int((domain == name).sum()), window, crosses=crossings and i % 2 == 0)
        for i, name in enumerate(["all", *names])
    }  # fmt: skip
    found = {name: intersection(curve, RULE, int(curve.count[0, 0])) for name, curve in curves.items()}
    (folder / "intersection.json").write_text(
        json.dumps({"all": found["all"], "domain": {name: found[name] for name in names}, "language": {}})
    )
    (folder / "curves.csv").write_text(_curves_csv(curves))
    summary = about | _means(s, tokens) | {"skipped": {"under 32 tokens": 3}, "seconds": 10.0}
    summary["by_domain"] = {name: _means(s[domain == name], tokens[domain == name]) for name in names}
    (folder / SUMMARY).write_text(json.dumps(summary))
    return folder


def _means(s, tokens):
    mean = float((s * tokens).sum() / tokens.sum())
    counts = {"num_documents": len(s), "num_tokens": int(tokens.sum())}
    return counts | {"nll_forward": 4.2 + mean / 2, "nll_reverse": 4.2 - mean / 2, "s": float(s.mean())}


def _curves(index, seed, size, window, *, crosses):
    """Curves of `size` documents by position, with resamples."""
    rng = np.random.default_rng([seed, index])
    at = np.arange(window)
    count = np.tile(np.maximum(1, size * np.exp(-at / window)).astype(int), (2, 1)).astype(float)
    gap = 0.25 * np.tanh(np.log((window / 5 + 1.0) / (at + 1.0))) if crosses else np.full(window, 0.3)
    level = 3.6 + 0.1 * index + 3.0 * (at + 1.0) ** -0.7
    true = np.stack([level - gap / 2, level + gap / 2])
    noise = 1.2 / np.sqrt(count)
    nll = true + rng.normal(size=true.shape) * noise
    resampled = nll[:, None] + rng.normal(size=(2, RULE.resamples, window)) * noise[:, None]
    return Curves(nll, count, resampled, np.repeat(count[:, None], RULE.resamples, axis=1))


def _curves_csv(curves):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["domain", "direction", "position", "nll", "count"])
    for name, curve in curves.items():
        for row, direction in enumerate(("forward", "reverse")):
            for position in range(curve.nll.shape[1]):
                nll, count = curve.nll[row, position], curve.count[row, position]
                writer.writerow([name, direction, position, f"{nll:.6f}", int(count)])
    return out.getvalue()
