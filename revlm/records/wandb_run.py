"""A W&B run beside the local record: whatever goes wrong here costs a line of text, never a run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import wandb

from revlm import keys
from revlm.cache import write_atomically
from revlm.config import LoggerConfig, WandbMode
from revlm.direction import Direction
from revlm.errors import UserError, first_line
from revlm.measures.crossing import Curves, smooth

# Seconds that an unreachable server may cost before the run goes on offline.
TIMEOUT = 15
TAG_LENGTH = 64


@dataclass(frozen=True)
class Table:
    """Rows that W&B shows as a table and draws charts from; None is an empty cell."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Histogram:
    """(n,) counts between (n + 1,) edges."""

    counts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunLabels:
    """Under which W&B lists a run.

    Attributes:
        group: of runs that belong together, where `logger.group` names none.
        job_type: the command.
        name: of this run.
        tags: beside those of `logger.tags`.
        over_tokens: whether charts run over the tokens trained on.
    """

    group: str
    job_type: str
    name: str
    tags: Sequence[str]
    over_tokens: bool = False


class WandbRun:
    """One W&B run in a run folder, offline or online."""

    def __init__(
        self, folder: Path, logger: LoggerConfig, config: dict[str, Any], labels: RunLabels | None = None
    ) -> None:
        """Open it; an unreachable server means offline, and any other trouble no W&B at all.

        Args:
            folder: that W&B writes into.
            logger: offline, online or none, and whose project.
            config: the run's options.
            labels: under which W&B lists the run; None: those of a training run.
        """
        self.run: Any = None
        if logger.wandb is not WandbMode.none:
            self._guard(lambda: self._open(folder, logger, config, labels or _training_labels(config)))

    def log(
        self,
        row: dict[str, Any],
        curves: Curves | None = None,
        *,
        smoothing: int = 1,
        chart: str = keys.CURVES,
    ) -> None:
        """A row, with the curves that belong to it.

        Args:
            row: numbers, a `Table` or a `Histogram` by key; None is left out.
            curves: by position.
            smoothing: positions in the chart's centred moving average.
            chart: key of the curves.
        """
        if self.run is not None:
            self._guard(
                lambda: self.run.log(
                    {k: _shown(v) for k, v in row.items() if v is not None}
                    | (_curves(curves, smoothing, chart) if curves else {})
                )
            )

    def finish(self, summary: dict[str, Any] | None, samples: list[tuple[str, str]]) -> None:
        """Close the run, as failed without a summary; unfinished runs of a sweep would merge."""
        if self.run is not None:
            self._guard(lambda: self._finish(summary, samples))
        self.run = None

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 -- no trouble of W&B's may cost a run
            print(
                f"W&B is off from here ({first_line(error).rstrip('.')}); the run's own files go on.",
                flush=True,
            )
            self.run = None

    def _open(self, folder: Path, logger: LoggerConfig, config: dict[str, Any], labels: RunLabels) -> None:
        options: dict[str, Any] = {
            "project": logger.project,
            "entity": logger.entity,
            "group": logger.group or labels.group,
            "job_type": labels.job_type,
            "name": labels.name,
            # W&B refuses empty and longer ones.
            "tags": [tag[:TAG_LENGTH] for tag in (*labels.tags, *logger.tags) if tag],
            "config": config,
            # A process of W&B's that a parent has started stands in another working folder.
            "dir": str(folder.absolute()),
            # A continued run joins its first sitting when it is synced.
            "id": _run_id(folder),
            "resume": "allow",
            "reinit": "finish_previous",
            "settings": wandb.Settings(
                init_timeout=TIMEOUT, console="off", silent=True, x_disable_meta=True, x_disable_stats=True
            ),
        }
        try:
            self.run = wandb.init(mode=cast(Any, logger.wandb.value), **options)
        except wandb.Error as error:
            if logger.wandb is WandbMode.offline:
                raise
            print(f"W&B cannot be reached ({first_line(error)}): logging offline.", flush=True)
            self.run = wandb.init(mode="offline", **options)
        if labels.over_tokens:
            self.run.define_metric(keys.TOKENS)
            self.run.define_metric("*", step_metric=keys.TOKENS)

    def _finish(self, summary: dict[str, Any] | None, samples: list[tuple[str, str]]) -> None:
        if samples:
            self.run.log({keys.SAMPLES: _shown(Table(("direction", "text in reading order"), samples))})
        if summary is not None:
            self.run.summary.update({k: v for k, v in summary.items() if isinstance(v, int | float | str)})
        self.run.finish(exit_code=0 if summary is not None else 1)


def was_logged(folder: Path) -> bool:
    """Whether a run in this folder has gone to W&B, offline or online."""
    return any((folder / "wandb").glob("*run-*"))


Answer = TypeVar("Answer")


def ask(question: Callable[[], Answer]) -> Answer:
    """What W&B's server says.

    Raises:
        UserError: nobody is logged in, or it does not answer or refuses.
    """
    try:
        return question()
    except Exception as error:
        raise UserError(
            f"W&B: {first_line(error).rstrip('.')}: see wandb login, entity= and project=, or leave save=true out: "
            "the JSON needs no account."
        ) from error


def default_entity() -> str:
    """Whose account is logged in; on a terminal W&B asks for it.

    Raises:
        UserError: there is none, or W&B does not answer.
    """
    entity = ask(lambda: wandb.Api(timeout=TIMEOUT).default_entity)
    if not entity:
        raise UserError("W&B: the account has no entity of its own: give entity=.")
    return str(entity)


def _training_labels(config: dict[str, Any]) -> RunLabels:
    return RunLabels(
        group=config["name"],
        job_type="train",
        name=f"{config['name']}-seed{config['seed']}",
        tags=(config["direction"]["module"], config["model"]["name"], config["data"]["language"]),
        over_tokens=True,
    )


def _run_id(folder: Path) -> str:
    path = folder / "wandb" / "run_id"
    if not path.exists():
        write_atomically(path, secrets.token_hex(4) + "\n")
    return path.read_text().strip()


def _shown(value: Any) -> Any:
    match value:
        case Table(columns, rows):
            return wandb.Table(columns=list(columns), data=[list(row) for row in rows])
        case Histogram(counts, edges):
            return wandb.Histogram(np_histogram=(counts, edges))
    return value


def _curves(curves: Curves, smoothing: int, name: str) -> dict[str, Any]:
    """The curves as a chart, and a few points as scalars for dashboards that draw no charts."""
    smoothed = smooth(curves.nll, smoothing, curves.count)
    size = curves.nll.shape[1]
    known = [i for i in range(size) if not np.isnan(smoothed[:, i]).any()]
    chart = wandb.plot.line_series(
        xs=known,
        ys=[[float(smoothed[d.number, i]) for i in known] for d in Direction],
        keys=[d.value for d in Direction],
        title="nll by position",
        xname="tokens already read",
    )
    points = [0, *(2**k for k in range(size.bit_length()) if 2**k < size), size - 1]
    scalars = {
        keys.curve(d.value, i, name): float(curves.nll[d.number, i])
        for d in Direction
        for i in points
        if curves.count[d.number, i]
    }
    return {name: chart, **scalars}
