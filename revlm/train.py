"""Train forward, reverse or both: `python -m revlm.train +experiment=from_scratch_mixed`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from revlm import cli
from revlm.checks import check
from revlm.composition import LAST_CHECKPOINT
from revlm.config import CostOptions, TrainConfig
from revlm.costs.opening import tell_training
from revlm.errors import UserError


def train(config: TrainConfig) -> None:
    """One run, from its options to its folder."""
    check(config)
    if config.estimate:
        tell_training(config, CostOptions())
        return
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from revlm.records import folder as run_folder

    hydra = HydraConfig.get()
    if hydra.mode is RunMode.MULTIRUN and config.trainer.devices * config.trainer.num_nodes > 1:
        # Lightning starts the other ranks with the same command line: each would run the whole sweep.
        raise UserError(
            f"trainer.devices={config.trainer.devices} trainer.num_nodes={config.trainer.num_nodes}: a sweep's job "
            "uses one device; run the jobs one by one for more, or give each its own through the launcher."
        )
    folder = Path(hydra.runtime.output_dir)
    config.run.dir = str(folder)
    with run_folder.claim(folder):
        _train(config, folder)


def _train(config: TrainConfig, folder: Path) -> None:
    from revlm.pages.runs.figures import draw_run, is_drawn
    from revlm.pages.runs.run import read_run
    from revlm.pages.runs.tables import summary_table
    from revlm.records import folder as run_folder

    plain = cli.plain(config)
    checkpoint = _checkpoint(config, folder)
    if checkpoint is None:
        run_folder.start(folder, plain)
    else:
        run_folder.check_same_run(folder, plain)
    if _fit(config, folder, checkpoint):
        # From the files alone, so that a run whose drawing was cut short is mended by ckpt_path=last.
        if not is_drawn(folder):
            draw_run(folder)
        print(summary_table(read_run(folder)))
        print(folder)


def _checkpoint(config: TrainConfig, folder: Path) -> Path | None:
    """The checkpoint to continue from; None to start afresh."""
    last = folder / LAST_CHECKPOINT
    if config.ckpt_path is None or last.exists():
        return last if config.ckpt_path else None
    print(f"no checkpoint in {folder} yet: starting afresh.", flush=True)
    return None


def _fit(config: TrainConfig, folder: Path, checkpoint: Path | None) -> bool:
    """Train; True on the rank that keeps the records."""
    import lightning as L

    from revlm.records import folder as run_folder
    from revlm.records.logger import RunLogger
    from revlm.records.results import export_run, write_samples, write_summary
    from revlm.training import arithmetic
    from revlm.training.build import build_datamodule, build_module, check_memory
    from revlm.training.checkpoints import step_of
    from revlm.training.strategies import SHARDED
    from revlm.training.trainer import build_trainer

    L.seed_everything(config.seed, workers=True, verbose=False)
    data = build_datamodule(config)
    data.open()
    check_memory(config, data)
    module = build_module(config, data)
    step = -1 if checkpoint is None else step_of(checkpoint)
    if step >= data.num_steps and (folder / run_folder.SUMMARY).exists():
        print(f"{folder} is finished already.", flush=True)
        return True
    remembered = run_folder.settled(folder) if checkpoint else {}
    flops = module.flops_per_token * data.num_steps * data.tokens_per_step
    arithmetic.settle(config.trainer, remembered, flops=flops)
    if config.trainer.compile:
        arithmetic.keep_compiled(Path(config.cache.dir))
        module.loss.compile()
    plain = cli.plain(config)
    run_folder.write_config(folder, plain)
    logger = RunLogger(folder, config.logger, plain, step=step)
    trainer, stop = build_trainer(
        config, folder, data, module.model, fresh=step < 0, logger=logger, callbacks=[logger]
    )
    with closing(logger):
        stop.fit(trainer, module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        # Every rank holds a shard: all take part in gathering the weights.
        sharded = config.trainer.strategy in SHARDED
        weights = trainer.strategy.lightning_module_state_dict() if sharded else None
        if not trainer.is_global_zero:
            return False
        export_run(config, data, module, folder, weights=weights)
        samples = [] if sharded else write_samples(config, data, module, folder)
        logger.finish(write_summary(config, data, module, folder, trainer=trainer), samples)
    return True


if __name__ == "__main__":
    cli.run(train)
