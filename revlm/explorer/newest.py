"""What the notebooks open: a named folder, or the newest one below runs/."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.models import FACTS

# What opens runs is imported where it is used: some of it warns and costs seconds.

RUNS = Path("runs")
MODEL, SCORES = "REVLM_MODEL", "REVLM_SCORES"


class NothingToShowError(UserError):
    """There is nothing to open; a notebook shows this one line and no traceback."""

    def _render_traceback_(self) -> list[str]:
        """IPython's own hook."""
        return [str(self)]


def enter_project() -> Path:
    """Work where commands are typed: in the nearest folder from here upwards that holds runs/.

    Notebooks start in their own folder, while paths in options and runs are relative to that one.

    Returns:
        The folder; it stays the present one where there is no runs/ above.
    """
    # Progress bars are text here, and nobody is asked to install widgets.
    warnings.filterwarnings("ignore", message="IProgress not found")
    here = Path.cwd()
    found = next((folder for folder in (here, *here.parents) if (folder / RUNS).is_dir()), here)
    os.chdir(found)
    return found


def newest_scores() -> Path:
    """The folder in REVLM_SCORES, else that of the newest finished scoring run of one model below runs/.

    Raises:
        NothingToShowError: there is none, or REVLM_SCORES is no such run; says what to run.
    """
    from revlm.pages.scores.run import read_score_run
    from revlm.scores.table import SUMMARY

    if named := os.environ.get(SCORES):
        try:
            run = read_score_run(named)
        except UserError as error:
            raise NothingToShowError(f"{SCORES}: {error}") from None
        if run.models:
            folders = ", ".join(map(str, run.models.values()))
            raise NothingToShowError(f"{SCORES}={named} is a run of several models: name one of {folders}.")
        return run.folder
    found = _newest(path for path in RUNS.rglob(SUMMARY) if "models" not in _facts(path))
    if found is None:
        model = _newest_model() or "runs/from_scratch_mixed/ID/model"
        raise NothingToShowError(
            f"no scoring run below {RUNS.absolute()}: run python -m revlm.score model={model} data=sample, "
            f"or name a run's folder with {SCORES}."
        )
    return found.parent


def newest_model() -> str:
    """The model in REVLM_MODEL, else the newest below runs/ that was trained in both directions.

    Raises:
        NothingToShowError: there is none; says what to run.
    """
    if found := os.environ.get(MODEL) or _newest_model():
        return found
    raise NothingToShowError(
        f"no model that was trained both ways below {RUNS.absolute()}: run make train, or name a model with {MODEL}."
    )


def _newest_model() -> str | None:
    both, known = set(map(str, Direction)), RUNS.rglob(f"model/{FACTS}")
    found = _newest(path for path in known if both <= set(_facts(path).get("directions", [])))
    return None if found is None else str(found.parent)


def _newest(paths: Iterable[Path]) -> Path | None:
    """The file that was written last; of several at once, the last by name."""
    return max(paths, key=lambda path: (path.stat().st_mtime_ns, str(path)), default=None)


def _facts(path: Path) -> dict:
    """What a JSON file says; a damaged one says nothing."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
