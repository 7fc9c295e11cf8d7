"""How fast documents are scored on this machine: by the model that is to do it, on a part of what it is to read."""

from __future__ import annotations

import copy
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from revlm.cache import NotPreparedError, only_finished
from revlm.config import ScoreConfig, WandbMode
from revlm.costs.texts import DOCUMENT_BYTES, bytes_per_token, corpus_bytes, made_up_ids, preparing_seconds
from revlm.data.datamodule import TokenStreamDataModule
from revlm.data.tokens import TokenIds, num_ids
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.measures.scoring import Scorer
from revlm.models.language_model import LanguageModel
from revlm.pages.scores.figures import draw_scores
from revlm.pages.scores.run import read_score_run, score_table
from revlm.pages.scores.tracking import log_score_run
from revlm.records.results import commit, versions
from revlm.scores.confounds import write_confounds
from revlm.scores.merge import merge
from revlm.scores.opened import open_scorer
from revlm.scores.shards import Job, ShardedScores, shard_bounds
from revlm.training.modules import DirectionalLM

# The first round of a probe reads so many batches a thread.
FIRST_BATCHES = 2
# What a scoring run does beside reading, where it cannot be tried: seconds, and seconds of a token.
REST, REST_EACH = 8.0, 6e-6
# Bytes of a document's row in the table, and of a token in shards until they are merged.
ROW_BYTES, SHARD_BYTES = 150, 24


@dataclass(frozen=True)
class Reading:
    """Scoring a corpus.

    Attributes:
        tokens: of the corpus, each counted once.
        documents: of it.
        counted: whether the corpus is prepared, so that both are counts; else they follow from bytes.
        opening: seconds to open model and text, or to prepare it.
        each: seconds of a token, read both ways.
        rest: seconds of tables, curves and figures.
        parameters: of the model, or of both.
    """

    tokens: int
    documents: int
    counted: bool
    opening: float
    each: float
    rest: float
    parameters: int


def seconds_per_token(module: DirectionalLM, data: TokenStreamDataModule, seconds: float) -> float:
    """Of a token read both ways by a scorer with a training run's model.

    Args:
        module: its model is left in evaluation mode.
        data: of the run, for its layout.
        seconds: to measure for, roughly.
    """
    layout = replace(data.layout, packed=False)
    model = LanguageModel("model", module.model.eval(), data.tokenizer, layout, module.directions, {})
    return _rate(Scorer(dict.fromkeys(Direction, model)), num_ids(data.tokenizer), seconds)


def _rate(scorer: Scorer, vocabulary: int, seconds: float) -> float:
    """Seconds of a token of made-up documents: a short round, then one that fills the time."""
    batch = FIRST_BATCHES * scorer.batch_tokens
    _timed(scorer, made_up_ids(vocabulary, 1), batch // 4)
    each = _timed(scorer, made_up_ids(vocabulary, batch), batch)
    if each * batch > seconds:
        return each
    more = int(min(seconds / each, 20 * batch))
    return _timed(scorer, made_up_ids(vocabulary, more), more)


def _timed(scorer: Scorer, ids: TokenIds, most: int) -> float:
    """Seconds of a token of the documents that make up at most so many tokens, one document at least."""
    some = ids.take(np.arange(max(1, int(np.searchsorted(ids.offsets, most, side="right")) - 1)))
    started = time.perf_counter()
    scorer.token_losses(some, [str(number) for number in range(len(some))])
    return (time.perf_counter() - started) / int(some.offsets[-1])


def probe_reading(config: ScoreConfig, forward: str, reverse: str | None, seconds: float) -> Reading:
    """Score a part of the corpus as the command would, in a temporary folder.

    Args:
        config: of the command.
        forward: model, or the forward one of a pair.
        reverse: the reverse one of a pair.
        seconds: that the probe may take.

    Raises:
        UserError: a model or the options of the text cannot be used.
    """
    config = copy.deepcopy(config)
    if config.logger.wandb is WandbMode.online:
        config.logger.wandb = WandbMode.offline
    with tempfile.TemporaryDirectory(prefix="revlm-cost-") as name:
        job = Job(config, forward, reverse, Path(name))
        # For the first time, as the command would: the second opening finds everything imported.
        started = time.perf_counter()
        try:
            with only_finished():
                scores = ShardedScores(job)
                scores.identity()
        except NotPreparedError:
            # Converts weights that are none yet, into the cache, as every command does.
            return _unprepared(config, open_scorer(config, forward, reverse), seconds)
        opening = time.perf_counter() - started
        return _prepared(scores, opening, seconds)


def parameters_of(scorer: Scorer) -> int:
    """Of the model, or of both."""
    models = {id(model): model.model.num_parameters() for model in scorer.models.values()}
    return int(sum(models.values()))


def _prepared(scores: ShardedScores, opening: float, seconds: float) -> Reading:
    """Two rounds over more and more documents: the second says how fast, both together what else there is."""
    whole = scores.opened
    lengths, scorer = whole.lengths, whole.scorer
    first = _spread(lengths, FIRST_BATCHES * scorer.batch_tokens)
    tokens = int(lengths[first].sum())
    each, rest = _round(scores, whole.documents[first])
    found = [(len(first), rest)]
    left = 0.5 * seconds - each * tokens
    more = _spread(lengths, int(left / each)) if left > 0 else first
    if len(more) > len(first):
        each, rest = _round(scores, whole.documents[more])
        found.append((len(more), rest))
    slope = max(0.0, (found[-1][1] - found[0][1]) / max(1, found[-1][0] - found[0][0]))
    rest = found[-1][1] + slope * (len(lengths) - found[-1][0])
    total = int(lengths.sum())
    return Reading(total, len(lengths), True, opening, each, rest, parameters_of(scorer))


def _spread(lengths: npt.NDArray[np.int64], tokens: int) -> npt.NDArray[np.int64]:
    """Numbers of documents from all over the corpus that make up so many tokens; one at least."""
    wanted = max(1, math.ceil(len(lengths) * min(1.0, tokens / int(lengths.sum()))))
    some = np.unique(np.linspace(0, len(lengths) - 1, wanted).astype(np.int64))
    fits = np.cumsum(lengths[some]) <= 2 * tokens
    return some[fits] if fits.any() else some[:1]


def _round(scores: ShardedScores, documents: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Score some documents; seconds of a token, and of all that comes behind."""
    folder = Path(tempfile.mkdtemp(dir=scores.job.folder))
    opened = replace(scores.opened, documents=np.sort(documents))
    part = copy.copy(scores)
    part.job, part.opened = replace(scores.job, folder=folder), opened
    part.bounds = shard_bounds(opened.lengths, scores.job.config.shard_tokens)
    started = time.perf_counter()
    for shard in range(len(part)):
        part.score(shard)
    scored = time.perf_counter()
    merge(part, {"versions": versions(), "commit": commit(), "seconds": 1.0, "tokens_per_second": 1.0})
    write_confounds(folder)
    draw_scores(folder)
    log_score_run(folder, scores.job.config.logger, {})
    score_table(read_score_run(folder))
    return (scored - started) / int(opened.lengths.sum()), time.perf_counter() - scored


def _unprepared(config: ScoreConfig, scorer: Scorer, seconds: float) -> Reading:
    """What bytes and made-up documents tell."""
    vocabulary = num_ids(scorer.models[Direction.FORWARD].tokenizer)
    # A stream without caps has no end that anybody could know.
    size = corpus_bytes(config.data)
    if not math.isfinite(size):
        raise UserError(
            "data=hub without caps: how much there is to score is not known: set data.max_bytes or data.max_documents."
        )
    tokens = int(size / bytes_per_token(vocabulary))
    each = _rate(scorer, vocabulary, 0.5 * seconds)
    documents = max(1, int(size / DOCUMENT_BYTES))
    opening = preparing_seconds(config.data, size)
    rest = REST + REST_EACH * tokens
    return Reading(tokens, documents, False, opening, each, rest, parameters_of(scorer))
