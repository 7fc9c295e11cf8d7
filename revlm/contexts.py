"""The same token's loss given k tokens on its left and k on its right: `python -m revlm.contexts model=... data=...`."""

from __future__ import annotations

from pathlib import Path

from revlm import cli
from revlm.checks import check
from revlm.config import ContextsConfig
from revlm.sources import readers


def contexts(config: ContextsConfig) -> None:
    """One model, a pair, or several models, over one corpus."""
    check(config)
    models = readers(config.model)
    from revlm.records import folder as run_folder

    folder = Path(config.run.dir)
    unreadable: list[str] = []
    with run_folder.claim(folder):
        for name, pair in models.items():
            place = folder if len(models) == 1 else folder / "models" / name
            unreadable = _compare(config, *pair, place)
    print(folder)
    cli.tell_unreadable(unreadable, f"everything else is compared, in {folder}.")


def _compare(config: ContextsConfig, forward: str, reverse: str | None, folder: Path) -> list[str]:
    """Compare with one model or pair; returns the files that could not be read."""
    from revlm.pages.contexts import context_table, draw_contexts, read_contexts
    from revlm.records.results import commit, versions
    from revlm.scores.equal_context import Comparison, compare_contexts

    comparison = Comparison.open(config, forward, reverse)
    facts = {"config": cli.plain(config), "versions": versions(), "commit": commit()}
    if not compare_contexts(comparison, folder, facts):
        print(f"{folder} is finished already.", flush=True)
    draw_contexts(folder)
    print(context_table(read_contexts(folder)))
    return comparison.opened.corpus.unreadable


if __name__ == "__main__":
    cli.run(contexts)
