"""The W&B dashboard as code: one workspace whose panels fill themselves with what runs log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revlm import keys
from revlm.cache import digest
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.records.wandb_run import ask

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

NAME = "revlm"
# Every curve of a window of 64 or longer has these as scalars.
POSITIONS = (0, 4, 32)
# Groups drawn in one chart; W&B's own 10 would leave arms of a larger study out.
MAX_GROUPS = 50
# Length of W&B's names for panels.
ID_LENGTH = 12


def build(entity: str, project: str) -> Workspace:
    """The workspace, runs listed by their group; nothing is sent.

    Args:
        entity: user or team; the empty string as long as nobody saves it.
        project: whose runs it shows.
    """
    import wandb_workspaces.workspaces as ws

    sections = [ws.Section(name=name, panels=panels, is_open=True) for name, panels in _sections().items()]
    for section in sections:
        for number, panel in enumerate(section.panels):
            # The library draws names at random: the same code would never write the same file.
            panel._id = digest(section.name, number)[:ID_LENGTH]  # noqa: SLF001
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=sections,
        settings=ws.WorkspaceSettings(max_runs=MAX_GROUPS),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group")],
            pinned_columns=[
                f"summary:{key}" for key in (keys.VAL_GAP, keys.score(keys.SCORE_ALL, keys.S), keys.SELECT_S)
            ],
        ),
    )
    workspace._internal_runset_id = digest(NAME)[:ID_LENGTH]  # noqa: SLF001
    return workspace


def as_json(workspace: Workspace) -> str:
    """The view as W&B stores it: whose it is, its name there once it is saved, and its `spec`."""
    view = workspace._to_model()  # noqa: SLF001 -- what the library itself sends
    return str(view.model_dump_json(by_alias=True, exclude_none=True, indent=2)) + "\n"


def adopt(workspace: Workspace, path: Path) -> None:
    """Let a workspace be the one that an earlier call saved, so that saving replaces it.

    Args:
        workspace: without an entity: the earlier one's.
        path: of the JSON that the earlier call wrote; what is of another project is left alone.

    Raises:
        UserError: the file is no dashboard's JSON.
    """
    if not path.exists():
        return
    try:
        saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        entity, project, name, number = (saved[key] for key in ("entity", "project", "name", "id"))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"out={path}: not the JSON of a dashboard: remove the file, or choose another out=."
        ) from error
    if project == workspace.project and workspace.entity in ("", entity):
        workspace.entity = entity
        workspace._internal_name, workspace._internal_id = name, number  # noqa: SLF001


def save(workspace: Workspace) -> str:
    """Save it to the account that is logged in, and return its address.

    Raises:
        UserError: nobody is logged in, or W&B does not answer or refuses.
    """
    ask(workspace.save)
    return ask(lambda: str(workspace.url))


def _sections() -> dict[str, list[Any]]:
    """Panels by the name of their section."""
    points = [keys.curve(direction.value, position) for position in POSITIONS for direction in Direction]
    quantiles = [keys.s_quantile(percent) for percent in keys.S_PERCENTILES]
    never, rule = keys.INTERSECTION_NEVER, _reports().Config("rule.name")
    return {
        "Loss by direction": [
            _over_tokens("Validation loss", keys.VAL_NLL_FORWARD, keys.VAL_NLL_REVERSE),
            _over_tokens("Training loss", keys.TRAIN_NLL),
        ],
        "Gap": [
            _over_tokens("Gap: reverse - forward", keys.VAL_GAP),
            _over_tokens("Relative gap: gap / forward", keys.VAL_RELATIVE_GAP, unit="share"),
        ],
        "Curves by position": [
            _position_curves(keys.CURVES),
            _position_curves(keys.SCORE_CURVES),
            _over_tokens("Loss at some positions", *points),
            _over_tokens("Share of resamples without a crossing", never, unit="share"),
            _over_tokens("Intersection", keys.INTERSECTION_POSITION, unit="tokens already read"),
        ],
        "Intersection by domain": [
            _by_domain(keys.INTERSECTION, "Intersection: tokens already read"),
            _by_domain(keys.NEVER, "Share of resamples without a crossing"),
            _matching("Intersection by group", keys.score(".*", keys.INTERSECTION)),
        ],
        "S": [
            _reports().LinePlot(title="S of documents", y=[keys.SCORE_HISTOGRAM]),
            _bars("Quantiles of S over documents", *quantiles),
            _by_domain(keys.S, "Mean S"),
            _matching("Mean S by group", keys.score(".*", keys.S)),
        ],
        "Selection arms": [
            _bars("Mean S: selected and all", keys.SELECT_S, keys.SELECT_S_ALL, groupby=rule),
            _bars("Tokens: selected and budget", keys.SELECT_TOKENS, keys.SELECT_BUDGET, groupby=rule),
            _bars("Documents selected", keys.SELECT_DOCUMENTS, groupby=rule),
            _matching("Accuracy", keys.evaluation(".*", ".*", "acc")),
        ],
    }


def _reports() -> Any:
    """The library's panels, imported where they are used."""
    from wandb_workspaces.reports import v2

    return v2


def _over_tokens(title: str, *metrics: str, unit: str = "nats per token") -> Any:
    axes = {"x": keys.TOKENS, "title_x": "tokens trained on", "title_y": unit}
    return _reports().LinePlot(title=title, y=list(metrics), **axes)


def _matching(title: str, pattern: str) -> Any:
    """Whatever domains or tasks there are: a regular expression takes in the keys."""
    return _reports().LinePlot(title=title, metric_regex=f"{pattern}$")


def _bars(title: str, *metrics: str, **options: Any) -> Any:
    return _reports().BarPlot(title=title, metrics=list(metrics), orientation="v", **options)


def _position_curves(chart: str) -> Any:
    """The last chart of curves that a run logged, in W&B's own drawing of several lines."""
    fields = {"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"}
    titles = {"title": chart, "xname": "tokens already read"}
    return _table_chart("wandb/lineseries/v0", keys.plotted_table(chart), fields, titles)


def _by_domain(column: str, title: str) -> Any:
    fields = {"label": keys.DOMAIN, "value": column}
    return _table_chart("wandb/bar/v0", keys.SCORE_DOMAINS, fields, {"title": title})


def _table_chart(name: str, table: str, fields: dict[str, str], titles: dict[str, str]) -> Any:
    query = {"summaryTable": {"tableKey": table}}
    return _reports().CustomChart(query=query, chart_name=name, chart_fields=fields, chart_strings=titles)
