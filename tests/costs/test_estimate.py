"""Estimates of whole commands: what they print, what they leave alone."""

import json

import pytest

from revlm import cli
from revlm.checks import check
from revlm.composition import choices
from revlm.config import CostOptions
from revlm.costs import estimate, words
from revlm.costs.arithmetic import Size
from revlm.costs.probe import Trial, choose_trial
from revlm.errors import UserError
from revlm.records.folder import check_same_run, write_config

STATED = "cost.device=h100"


def composed(*overrides):
    """Options of the command."""
    config = cli.declared("cost", cli.compose("cost", overrides))
    check(config)
    return config


def stated(*overrides):
    """An estimate that measures nothing."""
    config = composed(STATED, *overrides)
    return estimate.training(config, config.cost, imports=0.0)


def by_name(found):
    """The rows of the table."""
    return {cost.name: cost for cost in found.others}


@pytest.mark.parametrize("scale", choices("scale"))
def test_every_scale_has_an_estimate(cache_dir, scale):
    """From its options alone: nothing is read, downloaded or built."""
    before = sorted(cache_dir.rglob("*"))
    found = stated("+experiment=from_scratch_mixed", f"scale={scale}")
    assert found.own.tokens == pytest.approx(composed(f"scale={scale}").budget.tokens, rel=0.1)
    assert min(found.own.seconds.values()) >= 0
    assert words.told(found).startswith("This run takes ")
    assert sorted(cache_dir.rglob("*")) == before


def test_both_ways_cost_what_one_costs_at_equal_tokens(cache_dir):
    """And twice as much where tokens are counted in each direction apart."""
    rows = by_name(stated("scale=laptop"))
    one, both, twice = (
        rows[name].seconds["training"] for name in ("forward", "mixed", "mixed, tokens per direction")
    )
    assert one == both == rows["reverse"].seconds["training"]
    assert twice == pytest.approx(2 * one, rel=0.01)


def test_seconds_are_arithmetic_by_peak_and_efficiency(cache_dir):
    """Training: all its FLOPs; scoring: a third of that a token, in two directions."""
    found = stated("scale=paper", "cost.efficiency=0.2", "cost.score_tokens=5_000", "trainer.devices=4")
    reached = 0.2 * 989e12 * 4
    assert found.own.seconds["training"] == pytest.approx(
        found.own.tokens * found.size.training_flops / reached
    )
    scored = by_name(found)["scoring 5,000 tokens"]
    assert scored.seconds["reading"] == pytest.approx(2 * 5_000 * found.size.training_flops / 3 / reached)
    assert found.own.hours == pytest.approx(4 * sum(found.own.seconds.values()) / 3600)


def test_what_does_not_fit_is_said(cache_dir):
    """A 7B model under ddp is larger than a card of 24 GB."""
    found = stated(
        "scale=paper", "model=llama_7b", "cost.device=l4", "trainer.devices=8", "trainer.strategy=ddp"
    )
    assert not words.fits(found)
    assert "It does not fit: a device has 24 GB" in words.told(found)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["cost.device=v100"], "cost.device=v100: its peak is not known: choose one of auto, here, a100"),
        (["cost.device=here", "trainer.accelerator=gpu"], "trainer.accelerator=gpu: this machine has no GPU"),
        (["cost.efficiency=1.5"], "cost.efficiency=1.5: a share of the stated peak"),
        (["cost.score_tokens=0"], "cost.score_tokens=0: set it to 1 or more"),
        (["cost.device=a100", "model=custom"], "model=custom says no size"),
        (
            ["cost.device=a100", "budget.batch_size=7", "trainer.devices=2"],
            "budget.batch_size=7 does not divide",
        ),
        (["cost.device=a100", "data=files", "data.path=nothing/*.jsonl"], "nothing/"),
        (
            ["cost.device=a100", "init=pretrained", "model=llama_1m"],
            "model=llama_1m has no pretrained weights",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_nonsense_is_one_line(cache_dir, monkeypatch, overrides, message):
    """What is wrong, where, and the way out."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError) as error:
        estimate.training(config := composed(*overrides), config.cost, imports=0.0)
    assert message in str(error.value)


def test_gpus_that_are_not_here_are_reckoned(cache_dir, monkeypatch):
    """scale=paper asks for GPUs: without any, an H100 stands for them."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = composed("scale=paper")
    assert estimate.training(config, CostOptions(), imports=0.0).where == "one H100 SXM"


def test_a_large_model_is_tried_with_two_depths():
    """Or not at all where two layers do not fit; a small one is tried as it is."""
    parts = {"embeddings": 10, "attention": 30, "feed-forward": 60}
    small = Size(parts, 10, 300, 257, 600.0)
    assert choose_trial(small, 8, flops=1e11, seconds=30) == Trial(8)
    slow = Size(parts, 10, 300, 257, 1e9)
    trial = choose_trial(slow, 8, flops=1e11, seconds=30)
    assert trial == Trial(1, (1, 2))
    huge = Size({"attention": 10**13, "feed-forward": 10**13}, 10, 300, 257, 1e14)
    assert choose_trial(huge, 8, flops=1e11, seconds=30) is None


@pytest.mark.process
def test_training_is_estimated_by_a_probe_and_nothing_is_left(cache_dir, revlm_command, tmp_path):
    """The sentence first, then parts that add up; no folder, and a file only where one is asked for."""
    smoke = ("+experiment=from_scratch_mixed", "scale=smoke", "logger=none")
    said = revlm_command("train", *smoke, "estimate=true", cwd=tmp_path, check=True)
    assert said.stdout.startswith("This run takes ")
    assert "on this machine and " in said.stdout.splitlines()[0]
    assert list(tmp_path.iterdir()) == []
    revlm_command("cost", *smoke, "cost.seconds=4", "cost.out=cost.json", cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["cost.json"]
    found = json.loads((tmp_path / "cost.json").read_text())
    assert found["where"] == "this machine"
    assert found["own"]["total_seconds"] == pytest.approx(sum(found["own"]["seconds"].values()))
    assert all(value >= 0 for row in found["others"] for value in row["seconds"].values())
    assert found["model"]["parameters"] == sum(found["model"]["by_part"].values())


@pytest.mark.process
def test_scoring_says_whether_tokens_were_counted(cache_dir, smoke_run, revlm_command, tmp_path):
    """Counted in a corpus that is prepared, else estimated from bytes; nothing is left but what was there."""
    corpus = ("data.domains=[finance,bbc_news]", "data.max_bytes_per_domain=21_000", "logger=none")
    command = ("score", f"model={smoke_run / 'model'}", *corpus)
    before = revlm_command(*command, "estimate=true", cwd=tmp_path, check=True).stdout
    assert before.startswith("Scoring takes ")
    assert "estimated from bytes: the corpus is not prepared yet" in before
    assert list(tmp_path.iterdir()) == []
    scored = revlm_command(*command, "run.dir=scored", cwd=tmp_path, check=True)
    after = revlm_command(*command, "estimate=true", cwd=tmp_path, check=True).stdout
    tokens = json.loads((tmp_path / "scored" / "score.json").read_text())["num_tokens"]
    assert f"Scoring reads {tokens:,} tokens" in after, scored.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["scored"]


def test_only_what_is_finished_is_opened(tmp_path):
    """A corpus that is not there is not built for an estimate."""
    from revlm.cache import NotPreparedError, atomic_folder, only_finished

    with only_finished(), pytest.raises(NotPreparedError), atomic_folder(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "a") as building:
        assert building is not None
    with only_finished(), atomic_folder(tmp_path / "a") as building:
        assert building is None


def test_words_are_plain():
    """Two units of time, and bytes that fit."""
    assert [words.duration(seconds) for seconds in (0.2, 36, 290, 3_600, 86_400 * 61 + 3 * 3_600, 1e10)] == [
        "1 second", "36 seconds", "4 minutes 50 seconds", "1 hour", "61 days 3 hours", "317 years",
    ]  # fmt: skip
    assert [words.size(value) for value in (620e6, 4.51e9, 80e9, 12)] == [
        "620 MB",
        "4.5 GB",
        "80 GB",
        "12 bytes",
    ]
    assert [words.count(value) for value in (1.33e6, 70.55e9, 12)] == ["1.3M", "70.5B", "12"]


def test_a_run_of_before_can_still_be_continued(tmp_path):
    """estimate= is no part of what a run is: folders without it are continued."""
    before = cli.plain(cli.declared("train", cli.compose("train", [])))
    now = dict(before)
    del before["estimate"]
    write_config(tmp_path, before)
    check_same_run(tmp_path, now)
