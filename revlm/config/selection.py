"""Options of `python -m revlm.select`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from omegaconf import MISSING

from revlm.config.corpus import CorpusConfig
from revlm.config.marks import PATH
from revlm.config.shared import CacheConfig, RunConfig, run_folder
from revlm.config.training import LoggerConfig


class Rule(StrEnum):
    """By what documents are chosen."""

    top_s = "top_s"
    bottom_s = "bottom_s"
    random = "random"
    low_nll = "low_nll"
    mid_nll = "mid_nll"
    high_nll = "high_nll"
    dsir = "dsir"
    length_matched = "length_matched"


@dataclass
class RuleConfig:
    """A rule, and what only it needs."""

    name: Rule = Rule.top_s
    # dsir: the text that the selection is to resemble.
    target: CorpusConfig | None = None


@dataclass
class SelectConfig:
    """Options of `python -m revlm.select`."""

    # scores.parquet, the folder of a scoring run, or a glob of tables.
    scores: str = field(default=MISSING, metadata=PATH)
    # The corpus that was scored.
    data: CorpusConfig = field(default_factory=CorpusConfig)
    rule: RuleConfig = field(default_factory=RuleConfig)
    # Tokens to select, as the score table counts them.
    budget_tokens: int = MISSING
    seed: int = 0
    # The number that top_s, bottom_s and length_matched go by: any numeric column of the table.
    column: str = "s"
    # Give each domain its share of the budget, in proportion to its tokens.
    by_domain: bool = False
    # Compare z-scores within domains instead of raw values; random and dsir compare neither.
    zscore: bool = False
    # 0: the best. Above 0: sample without replacement with weights exp(value / temperature).
    temperature: float = 0.0
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    run: RunConfig = field(
        default_factory=lambda: run_folder(
            "select",
            "scores data rule column by_domain zscore temperature",
            before="${rule.name}_${budget_tokens}_${seed}_",
        )
    )
    cache: CacheConfig = field(default_factory=CacheConfig)
