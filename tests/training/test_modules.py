"""The three modules and their one step."""

from copy import deepcopy

import lightning as L
import pytest
import torch

from revlm.config import (
    BudgetConfig,
    CurvesConfig,
    DataConfig,
    DirectionConfig,
    Module,
    OptimizerConfig,
    OptimizerName,
    Schedule,
    TokenizerConfig,
    TrainConfig,
)
from revlm.data.datamodule import TokenStreamDataModule
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.training.build import build_datamodule
from revlm.training.modules import MODULES, DirectionalLM, ForwardLM, MixedLM, ReverseLM
from revlm.training.optimizers import build_optimizer, build_schedule, group_names

DATA = DataConfig(
    domains=["finance", "bbc_news"], max_bytes_per_domain=60_000, window=64, max_val_tokens=2000
)


def datamodule(cache_dir, ratio=0.5, **budget):
    options = {"tokens": 65 * 8 * 4, "batch_size": 8, "validations": 1} | budget
    return TokenStreamDataModule(
        DATA,
        tokenizer=TokenizerConfig(vocab_size=512),
        direction=DirectionConfig(reverse_ratio=ratio),
        budget=BudgetConfig(**options),
        seed=0,
        cache_dir=cache_dir,
    )


def module(cls, model, **optimizer):
    return cls(
        model, optimizer=OptimizerConfig(**optimizer), curves=CurvesConfig(resamples=20), window=64, prefix=1
    )


def optimizer_of(model, config):
    return build_optimizer(model, config, group_names(model, config))


def fit(lm, data, folder, accumulate=1):
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        accumulate_grad_batches=accumulate, num_sanity_val_steps=0, default_root_dir=folder,
        enable_checkpointing=False, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(lm, datamodule=data)
    return lm


def test_modules_declare_directions_and_override_nothing():
    """Direction is data: the three modules share every step."""
    for cls, directions in (
        (ForwardLM, {Direction.FORWARD}),
        (ReverseLM, {Direction.REVERSE}),
        (MixedLM, set(Direction)),
    ):
        assert set(cls.directions) == directions
        assert {name for name in vars(cls) if not name.startswith("__")} - {
            "directions",
            "_abc_impl",
        } == set()
    assert not hasattr(DirectionalLM, "directions")


def test_options_of_other_directions_are_refused_before_the_corpus_is_read(tmp_path):
    """Module and reverse_ratio are two options; what a module trains on is declared once, by its class."""
    config = TrainConfig(direction=DirectionConfig(Module.forward, 0.5), data=DataConfig(path="nowhere"))
    config.cache.dir = str(tmp_path)
    with pytest.raises(
        UserError, match="ForwardLM trains on forward, the data is forward and reverse: choose both"
    ):
        build_datamodule(config)
    for name, ratio in ((Module.forward, 0.0), (Module.reverse, 1.0), (Module.mixed, 0.3)):
        config.direction = DirectionConfig(name, ratio)
        assert set(build_datamodule(config).directions) == set(MODULES[name].directions)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("cls", "ratio"), [(ForwardLM, 0.5), (ReverseLM, 0.0), (MixedLM, 1.0)])
def test_data_of_other_directions_is_refused(tiny_lm, cache_dir, tmp_path, cls, ratio):
    """A forward module on mixed data would be a mixed run under a false name."""
    with pytest.raises(UserError, match=r"trains on .*, the data is .*: choose both together"):
        fit(module(cls, tiny_lm), datamodule(cache_dir, ratio), tmp_path)


def test_accumulation_changes_nothing(tiny_lm, cache_dir, tmp_path):
    """Eight rows at once and four times two give the same weights after four steps, to rounding."""
    start = {k: v.clone() for k, v in tiny_lm.state_dict().items()}
    weights = []
    for micro, accumulate in ((8, 1), (2, 4)):
        tiny_lm.load_state_dict(start)
        fit(
            module(MixedLM, tiny_lm, lr=1e-2),
            datamodule(cache_dir, micro_batch_size=micro),
            tmp_path,
            accumulate,
        )
        weights.append({k: v.clone() for k, v in tiny_lm.state_dict().items()})
    moved = max((weights[0][k] - start[k]).abs().max() for k in start)
    apart = max((weights[0][k] - weights[1][k]).abs().max() for k in start)
    assert moved > 1e-3
    # AdamW divides by tiny second moments, which blows rounding up; a wrong mean is a hundred times larger.
    assert apart < 1e-3 * moved


def test_a_step_weighs_tokens_alike_wherever_they_stand(tiny_lm, cache_dir, tmp_path):
    """The loss of a step is the mean over its tokens, not over its rows or micro-batches."""
    data = datamodule(cache_dir, micro_batch_size=2)
    data.setup("fit")
    lm = module(MixedLM, tiny_lm)
    batches = [data.train_stream[k] for k in range(4)]
    losses = [lm.loss.token_nll(b["input_ids"], b["labels"], b["position_ids"]) for b in batches]
    tokens = sum(int((b["labels"] != -100).sum()) for b in batches)
    expected = sum(nll.sum() for nll in losses) / tokens
    shares = [
        lm.loss.sum_nll(b["input_ids"], b["labels"], b["position_ids"]) / b["step_targets"] for b in batches
    ]
    assert torch.allclose(sum(shares), expected, atol=1e-5)


@pytest.mark.parametrize("name", list(OptimizerName))
def test_every_parameter_is_moved_by_one_optimiser(tiny_lm, name):
    """Muon takes matrices, AdamW the rest; nothing is left out or moved twice."""
    optimizer = optimizer_of(tiny_lm, OptimizerConfig(name=name))
    moved = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(moved) == sorted({id(p) for p in tiny_lm.parameters()})


def test_muon_continues_from_its_saved_state(tiny_lm):
    """Saving and loading the joined optimiser loses no momentum and no learning rate."""

    def step(optimizer, schedule, seed):
        for p in tiny_lm.parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed))
        optimizer.step()
        schedule.step()

    config = OptimizerConfig(name=OptimizerName.muon)
    one = optimizer_of(tiny_lm, config)
    schedule = build_schedule(one, config, 20)
    for seed in range(5):
        step(one, schedule, seed)
    weights = {k: v.clone() for k, v in tiny_lm.state_dict().items()}
    saved, saved_schedule = deepcopy(one.state_dict()), schedule.state_dict()
    two = optimizer_of(tiny_lm, config)
    resumed = build_schedule(two, config, 20)
    two.load_state_dict(saved)
    resumed.load_state_dict(saved_schedule)
    ends = []
    for optimizer, its_schedule in ((one, schedule), (two, resumed)):
        tiny_lm.load_state_dict(weights)
        step(optimizer, its_schedule, 99)
        ends.append(torch.cat([p.detach().flatten() for p in tiny_lm.parameters()]))
    assert torch.equal(*ends)


@pytest.mark.parametrize("shape", list(Schedule))
def test_schedules_warm_up_and_end_where_they_should(tiny_lm, shape):
    """Warm-up begins low and reaches lr after its steps; cosine and WSD end at final_lr."""
    config = OptimizerConfig(lr=1.0, schedule=shape, warmup=0.1, decay=0.2, final_lr=0.1)
    optimizer = optimizer_of(tiny_lm, config)
    schedule = build_schedule(optimizer, config, 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] <= 0.1
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 10
    last = optimizer.param_groups[0]["lr"]
    assert last == pytest.approx(1.0 if shape is Schedule.constant else 0.1, abs=0.01)
