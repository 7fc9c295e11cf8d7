"""Train forward, reverse or both: `python -m revlm.train +experiment=from_scratch_mixed`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from revlm import cli
from revlm.config import Init, TrainConfig, check

if TYPE_CHECKING:
    from revlm.data.datamodule import TokenStreamDataModule
    from revlm.training.modules import DirectionalLM


def train(config: TrainConfig) -> None:
    """One run, from its options to its folder."""
    check(config)
    from hydra.core.hydra_config import HydraConfig

    from revlm.records import folder as run_folder

    folder = Path(HydraConfig.get().runtime.output_dir)
    config.run.dir = str(folder)
    with run_folder.claim(folder):
        _train(config, folder)


def _train(config: TrainConfig, folder: Path) -> None:
    from revlm.records import folder as run_folder
    from revlm.records.figures import draw_run
    from revlm.records.runs import read_run
    from revlm.records.tables import summary_table

    plain = cli.plain(config)
    checkpoint = _checkpoint(config, folder)
    if checkpoint is None:
        run_folder.start(folder, plain)
    else:
        run_folder.check_same_run(folder, plain)
        run_folder.write_config(folder, plain)
    if _fit(config, folder, checkpoint, plain):
        # From the files alone, so that a run whose drawing was cut short is mended by ckpt_path=last.
        draw_run(folder)
        print(summary_table(read_run(folder)))
        print(folder)


def _checkpoint(config: TrainConfig, folder: Path) -> Path | None:
    """The checkpoint to continue from; None to start afresh."""
    from revlm.errors import UserError

    if config.ckpt_path is None:
        return None
    if config.ckpt_path != "last":
        path = Path(config.ckpt_path)
        if not path.exists():
            raise UserError(
                f"ckpt_path={path}: there is no such checkpoint; ckpt_path=last takes the run's own."
            )
        return path
    last = folder / cli.LAST_CHECKPOINT
    if last.exists():
        return last
    print(f"no checkpoint in {folder} yet: starting afresh.", flush=True)
    return None


def _fit(config: TrainConfig, folder: Path, checkpoint: Path | None, plain: dict[str, Any]) -> bool:
    """Train; True on the rank that keeps the records."""
    import lightning as L

    from revlm.records.tracking import Recorder, Tracker
    from revlm.training.callbacks import Clock
    from revlm.training.checkpoints import step_of
    from revlm.training.trainer import build_trainer

    L.seed_everything(config.seed, workers=True, verbose=False)
    data = _datamodule(config)
    data.open()
    module = _module(config, data)
    share = data.share(0, config.trainer.devices * config.trainer.num_nodes)
    if (
        checkpoint is not None
        and step_of(checkpoint) >= data.num_steps
        and (folder / "summary.json").exists()
    ):
        print(f"{folder} is finished already.", flush=True)
        return True
    tracker = Tracker(folder, config.logger, config=plain)
    summary, samples = None, []
    try:
        clock = Clock()
        trainer = build_trainer(
            config,
            folder,
            model=module.model,
            num_batches=data.num_steps * share.accumulate,
            accumulate=share.accumulate,
            clock=clock,
            callbacks=[Recorder(tracker, clock, every=config.trainer.log_every_n_steps)],
        )
        if checkpoint is None:
            trainer.validate(module, datamodule=data, verbose=False)
        else:
            tracker.resume(step_of(checkpoint))
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        if not trainer.is_global_zero:
            return False
        summary = _finish(config, folder, data, module, seconds=clock.elapsed())
        samples = _samples(config, data, module, folder)
    finally:
        tracker.finish(summary, samples)
    return True


def _datamodule(config: TrainConfig) -> TokenStreamDataModule:
    from revlm.data.datamodule import TokenStreamDataModule
    from revlm.models.backbone import pretrained_folder

    cache = Path(config.cache.dir).expanduser()
    pretrained = None
    if config.init.kind is Init.pretrained:
        pretrained = pretrained_folder(config.model, config.init, cache)
    return TokenStreamDataModule(
        config.data,
        tokenizer=config.tokenizer,
        direction=config.direction,
        budget=config.budget,
        seed=config.seed,
        cache_dir=cache,
        pretrained=pretrained,
    )


def _module(config: TrainConfig, data: TokenStreamDataModule) -> DirectionalLM:
    import torch

    from revlm.config import Packing
    from revlm.errors import UserError
    from revlm.models import backbone
    from revlm.models.nll import check_windows_apart
    from revlm.training.modules import MODULES

    layout = data.layout
    # Weights depend on the seed alone, whatever drew random numbers before.
    torch.manual_seed(config.seed)
    if data.pretrained:
        model = backbone.from_pretrained(data.pretrained, layout.row_length)
        backbone.fit_vocabulary(model, data.tokenizer, len(layout.tags))
    else:
        model = backbone.from_config(config.model, data.tokenizer, layout.row_length)
    if config.data.packing is Packing.packed and not check_windows_apart(model):
        raise UserError(
            f"model={config.model.name} lets the windows of a packed row see each other: set data.packing=padded."
        )
    return MODULES[config.direction.module](
        model, optimizer=config.optimizer, curves=config.curves, window=layout.window, prefix=layout.prefix
    )


def _finish(
    config: TrainConfig, folder: Path, data: TokenStreamDataModule, module: DirectionalLM, *, seconds: float
) -> dict[str, Any]:
    """Export the model and write summary.json, which marks the run as finished."""
    import json

    from revlm import keys
    from revlm.cache import write_atomically
    from revlm.models.backbone import export
    from revlm.records.tracking import commit, versions

    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    validations = [row for row in rows if keys.VAL_NLL_FORWARD in row]
    start, end = validations[0], validations[-1]
    tokens = data.num_steps * data.tokens_per_step
    summary = {
        "name": config.name,
        "seed": config.seed,
        "module": config.direction.module.value,
        "nll_forward": end[keys.VAL_NLL_FORWARD],
        "nll_reverse": end[keys.VAL_NLL_REVERSE],
        "gap": end[keys.VAL_GAP],
        "relative_gap": end[keys.VAL_RELATIVE_GAP],
        "start_nll_forward": start[keys.VAL_NLL_FORWARD],
        "start_nll_reverse": start[keys.VAL_NLL_REVERSE],
        "tokens": tokens,
        "steps": data.num_steps,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "parameters": module.model.num_parameters(),
        "window": data.layout.window,
        "vocab_size": len(data.tokenizer),
        "num_train_documents": int((~data.store.held_out).sum()),
        "num_val_documents": data.val_streams[0].num_documents,
        "skipped": data.corpus.skipped | data.store.skipped,
        "language": config.data.language,
        "corpus_fingerprint": data.corpus.fingerprint,
        "versions": versions(),
        "commit": commit(),
    }
    export(
        module.model,
        data.tokenizer,
        folder / "model",
        {
            "directions": [direction.value for direction in module.directions],
            "window": data.layout.window,
            "tag": config.direction.tag,
            "granularity": config.data.granularity.value,
            "segment_tokens": config.data.segment_tokens,
            "corpus_fingerprint": data.corpus.fingerprint,
            "store_fingerprint": data.store.fingerprint,
            "tokens": tokens,
            "seed": config.seed,
        },
    )
    write_atomically(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _samples(
    config: TrainConfig, data: TokenStreamDataModule, module: DirectionalLM, folder: Path
) -> list[tuple[str, str]]:
    """Held-out texts continued in each of the model's directions, also as samples.txt.

    Forward writes on from a window's beginning, reverse writes what comes before its end; the
    given part stands in [brackets].
    """
    from revlm.cache import write_atomically
    from revlm.direction import Direction
    from revlm.models.generation import generate_text

    windows = data.val_streams[0].windows
    length = data.layout.window // 4
    samples = []
    for item in range(min(config.logger.samples, len(windows))):
        ids = data.store.document(windows.doc[item])[: data.layout.window]
        for direction in module.directions:
            given = ids[:length] if direction is Direction.FORWARD else ids[-length:]
            prompt = data.tokenizer.decode(given.tolist())
            written = generate_text(
                module.model,
                data.tokenizer,
                prompt,
                direction=direction,
                num_tokens=length,
                tag=config.direction.tag,
                seed=item,
            )
            samples.append((direction.value, written.replace(prompt, f"[{prompt}]", 1)))
    write_atomically(folder / "samples.txt", "".join(f"{d}: {text}\n\n" for d, text in samples))
    return samples


if __name__ == "__main__":
    cli.run(train, schema=TrainConfig, config_name="train")
