"""Options of `python -m revlm.select`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING

from revlm.config.corpus import CorpusConfig
from revlm.config.shared import CacheConfig


class Rule(Enum):
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
    # dsir: the text that the selection shall resemble.
    target: CorpusConfig | None = None


@dataclass
class SelectFolderConfig:
    """The selection's folder; a new one replaces what an earlier one left there."""

    root: str = "runs"
    dir: str = "${run.root}/select/${rule.name}_${budget_tokens}_${seed}"


@dataclass
class SelectConfig:
    """Options of `python -m revlm.select`."""

    # scores.parquet, the folder of a scoring run, or a glob of tables in the order of the corpus.
    scores: str = MISSING
    data: CorpusConfig = field(default_factory=CorpusConfig)
    rule: RuleConfig = field(default_factory=RuleConfig)
    # Tokens to select, as the score table counts them.
    budget_tokens: int = MISSING
    seed: int = 0
    # The column that top_s, bottom_s and length_matched go by.
    column: str = "s"
    # Give each domain its share of the budget, in proportion to its tokens.
    by_domain: bool = False
    # Compare z-scores within domains instead of raw values.
    zscore: bool = False
    # 0: the best. Above 0: sample without replacement with weights exp(value / temperature).
    temperature: float = 0.0
    run: SelectFolderConfig = field(default_factory=SelectFolderConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
