"""Choose documents by their scores: `python -m revlm.select scores=RUN rule=top_s budget_tokens=N`."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revlm import cli
from revlm.checks import check
from revlm.config import CorpusConfig, Rule, SelectConfig
from revlm.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from revlm.selection.candidates import Candidates, Mask
    from revlm.selection.scored_corpus import ScoredCorpus


def select(config: SelectConfig) -> None:
    """One selection: from a score table and its corpus to the folder, whose path is printed last."""
    check(config)
    from revlm.data.corpus import load_corpus
    from revlm.scores.table import find_tables
    from revlm.selection.candidates import read_tables
    from revlm.selection.choice import choose
    from revlm.selection.rules import check_rule, column_of
    from revlm.selection.scored_corpus import join

    rule = config.rule.name
    check_rule(config.rule, config.temperature)
    tables = read_tables(find_tables(config.scores), column_of(rule, config.column))
    left_out = list(tables.damaged.values())
    _check_budget(config.budget_tokens, tables.candidates.num_tokens)
    corpus = load_corpus(config.data, Path(config.cache.dir))
    scored = join(tables, corpus)
    candidates, target = _weighed(config, scored) if rule is Rule.dsir else (scored.candidates, None)
    chosen = choose(
        candidates,
        rule=rule,
        budget_tokens=config.budget_tokens,
        seed=config.seed,
        by_domain=config.by_domain,
        zscore=config.zscore,
        temperature=config.temperature,
    )
    _write(config, scored, chosen, target)
    cli.tell_unreadable(
        left_out + corpus.unreadable,
        f"the selection was written without them, in {config.run.dir}: mend them and run the same command again.",
    )


def _check_budget(budget: int, sizes: npt.NDArray[np.int64]) -> None:
    """Say what a budget at either end means, before anything long begins."""
    if budget > sizes.sum():
        print(
            f"budget_tokens={budget} is more than the {sizes.sum()} tokens there are: "
            "all documents are selected.",
            flush=True,
        )
    if budget < sizes.min():
        raise UserError(
            f"budget_tokens={budget} is less than the shortest document ({sizes.min()} tokens): "
            "no document fits; raise it."
        )


def _weighed(config: SelectConfig, scored: ScoredCorpus) -> tuple[Candidates, dict[str, Any]]:
    """Candidates that carry importance weights, and what the record says of the target."""
    from dataclasses import replace

    from revlm.data.corpus import load_corpus
    from revlm.selection.dsir import weigh

    assert config.rule.target is not None
    try:
        target = load_corpus(config.rule.target, Path(config.cache.dir))
    except UserError as error:
        raise UserError(_of_the_target(str(error))) from error
    weights, facts = weigh(scored, target)
    return replace(scored.candidates, values=weights), facts


def _of_the_target(message: str) -> str:
    """What is wrong with a corpus, in terms of the options that name the target."""
    names = "|".join(option.name for option in fields(CorpusConfig))
    message = re.sub(rf"(?<![\w./])data\.(?=({names})\b)", "rule.target.", message)
    return re.sub(r"(?<![\w./])data=", "rule.target.source=", message)


def _write(config: SelectConfig, scored: ScoredCorpus, chosen: Mask, target: dict[str, Any] | None) -> None:
    from revlm.cache import write_atomically
    from revlm.pages.scores.tracking import log_selection
    from revlm.records import folder as run_folder
    from revlm.selection import RECORD, SELECTION
    from revlm.selection.write import record, summary, write_documents

    folder = Path(config.run.dir)
    facts = record(config, scored, chosen, target)
    # An earlier record never stands beside documents that it does not describe.
    (folder / RECORD).unlink(missing_ok=True)
    write_documents(folder / SELECTION, scored, chosen)
    run_folder.write_config(folder, cli.plain(config))
    write_atomically(folder / RECORD, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    log_selection(folder, facts, config.logger, cli.plain(config))
    print(summary(facts))
    print()
    print(folder)


if __name__ == "__main__":
    cli.run(select)
