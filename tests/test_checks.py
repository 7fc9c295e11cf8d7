"""Ranges of options, for every command."""

from dataclasses import fields, is_dataclass
from typing import get_args, get_type_hints

import pytest

from revlm.checks import RANGES, check
from revlm.composition import COMMANDS
from revlm.config import CorpusConfig, ReportConfig, Rule, RuleConfig, ScoreConfig, SelectConfig
from revlm.errors import UserError


def options(cls, prefix=""):
    """Dotted names of all options of a command."""
    hints = get_type_hints(cls)
    for field in fields(cls):
        yield f"{prefix}{field.name}"
        kinds = [hints[field.name], *get_args(hints[field.name])]
        for kind in filter(is_dataclass, kinds):
            yield from options(kind, f"{prefix}{field.name}.")


def test_every_range_is_of_an_option_that_some_command_has():
    """A misspelt name would be a check that never happens."""
    known = {name for schema in COMMANDS.values() for name in options(schema)}
    assert {name for _, _, names in RANGES for name in names.split()} <= known


@pytest.mark.parametrize(
    "config",
    [
        SelectConfig(scores="x", budget_tokens=0),
        SelectConfig(scores="x", budget_tokens=1, temperature=float("nan")),
        SelectConfig(scores="x", budget_tokens=1, seed=-1),
        SelectConfig(scores="x", budget_tokens=1, data=CorpusConfig(max_documents=0)),
        SelectConfig(scores="x", budget_tokens=1, rule=RuleConfig(Rule.dsir, CorpusConfig(max_bytes=0))),
        ScoreConfig(min_tokens=0),
    ],
    ids=["budget_tokens", "temperature", "seed", "data.max_documents", "rule.target.max_bytes", "min_tokens"],
)
def test_commands_share_their_ranges(config, request):
    """An option out of its range is named, whichever command has it."""
    with pytest.raises(UserError) as error:
        check(config)
    assert str(error.value).startswith(f"{request.node.callspec.id}=")


def test_options_that_a_command_does_not_have_are_not_missed():
    """A command is checked for its own options alone."""
    check(SelectConfig(scores="x", budget_tokens=1))
    check(ReportConfig())
