"""The texts behind a scoring run, and documents as HTML to read."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from revlm.cache import default_cache
from revlm.config import CorpusConfig
from revlm.config.marks import at_home, expand_paths
from revlm.data.corpus import Corpus, load_corpus
from revlm.errors import UserError
from revlm.pages.scores.run import ScoreRun
from revlm.records.folder import CONFIG

# Paper and ink of their own, so that it reads alike in a dark notebook.
PAPER = "background:white;color:#222222;padding:0.6em 0.9em"


def corpus_of(run: ScoreRun) -> Corpus:
    """The corpus that a run scored, by the options in its config.yaml.

    Relative paths in them count from the present folder, as they did for the command.

    Raises:
        UserError: it cannot be had, or is not what was scored.
    """
    path = run.folder / CONFIG
    options: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else {}
    if lost := [name for name in ("data", "cache") if name not in options]:
        raise UserError(
            f"{path}: no {', '.join(lost)}, so its texts cannot be found: score again with python -m revlm.score."
        )
    config: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(CorpusConfig), options["data"]))
    # Older runs wrote paths as they were given.
    expand_paths(config)
    cache = Path(at_home(options["cache"]["dir"]))
    corpus = load_corpus(config, cache if cache.is_dir() else default_cache())
    scored = run.summary.get("corpus_fingerprint", corpus.fingerprint)
    if scored != corpus.fingerprint:
        raise UserError(
            f"{run.folder} holds scores of the corpus {scored}, and its options now give the corpus "
            f"{corpus.fingerprint}: score again with python -m revlm.score."
        )
    return corpus


def texts_of(corpus: Corpus, doc_ids: Iterable[str]) -> dict[str, str]:
    """Texts of some documents by id, in the order given.

    Raises:
        UserError: the corpus does not hold one; names it.
    """
    wanted = dict.fromkeys(doc_ids)
    rows: dict[str, int] = {}
    start = 0
    for batch in corpus.dataset.select_columns("doc_id").iter(16_384):
        rows |= {name: start + row for row, name in enumerate(batch["doc_id"]) if name in wanted}
        start += len(batch["doc_id"])
    if lost := [name for name in wanted if name not in rows]:
        raise UserError(f"doc_id {lost[0]!r} is no document of this corpus: give one of its score table.")
    return {name: corpus.dataset[rows[name]]["text"] for name in wanted}


def documents_html(
    rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str], *, title: str, most: int = 500
) -> str:
    """Documents below one another, each under a line with its scores.

    Args:
        rows: of the score table.
        texts: by doc_id.
        title: what is shown.
        most: characters of a text.
    """
    shown = [f'<div style="{PAPER}"><b>{html.escape(title)}</b>']
    for row in rows:
        text = texts[row["doc_id"]]
        more = f" … [{len(text) - most:,} more characters]" if len(text) > most else ""
        facts = (
            f"S {row['s']:+.3f} = forward {row['nll_forward']:.3f} \u2212 reverse {row['nll_reverse']:.3f}; "
            f"{row['num_tokens']:,} tokens; {row['domain']}, {row['doc_id']}"
        )
        shown.append(
            f'<p style="margin:0.9em 0 0.2em;font-size:85%;color:#5A5A5A">{html.escape(facts)}</p>'
            f'<div dir="auto" style="white-space:pre-wrap">{html.escape(text[:most])}{more}</div>'
        )
    return "".join([*shown, "</div>"])
