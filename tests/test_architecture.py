"""The house: data flows one way, and imports go only to what comes before."""

import ast
from pathlib import Path

import pytest

import revlm

PACKAGE = Path(revlm.__file__).parent

# Rooms in the order in which the data flows; inside a room, modules in theirs.
HOUSE = {
    "": ["__init__", "errors", "keys", "progress", "cache", "config", "checks", "direction", "markup"],
    "data": [
        "__init__",
        "document",
        "hashes",
        "split",
        "samples",
        "sample",
        "benchmarks",
        "caps",
        "files",
        "hub",
        "controls",
        "damage",
        "corpus",
        "tokens",
        "units",
        "windows",
        "order",
        "streams",
        "datamodule",
    ],
    "models": ["__init__", "nll", "backbone", "generation", "language_model"],
    "measures": [
        "__init__",
        "curves",
        "text_statistics",
        "scoring",
        "tasks",
        "evaluation",
        "statistics",
        "contexts",
        "paired",
        "correlations",
        "rank_bootstrap",
    ],
    "scores": [
        "__init__",
        "table",
        "columns",
        "shards",
        "merge",
        "join",
        "combine",
        "agreement",
        "confounds",
        "contexts",
    ],
    "selection": ["__init__", "table", "join", "dsir", "rules", "budget", "choice", "write"],
    "training": ["__init__", "optimizers", "modules", "callbacks", "checkpoints", "trainer", "build"],
    "records": [
        "__init__",
        "folder",
        "wandb_run",
        "dashboard",
        "tracking",
        "results",
        "runs",
        "sweeps",
        "drawing",
        "captions",
        "figures",
        "tables",
        "usage",
        "model_card",
        "score_runs",
        "score_tracking",
        "score_captions",
        "score_panels",
        "score_figures",
        "score_tables",
        "score_texts",
        "token_colours",
        "crossing_figure",
        "newest",
        "context_figures",
        "evaluation_runs",
    ],
    "studies": [
        "__init__",
        "records",
        "study",
        "pictures",
        "pretrained_bias",
        "from_scratch",
        "continued",
        "intersection_pictures",
        "intersection",
        "null_controls",
        "quality_measures",
        "quality",
        "selected",
        "catalogue",
        "pages",
        "html",
    ],
    "integrations": ["__init__", "datatrove", "executors"],
    "doors": [
        "cli",
        "train",
        "score",
        "contexts",
        "generate",
        "export",
        "select",
        "evaluate",
        "collect",
        "report",
        "dashboard",
    ],
}
RANK = {
    (room, module): (floor, line)
    for floor, (room, modules) in enumerate(HOUSE.items())
    for line, module in enumerate(modules)
}


def place(name: str) -> tuple[str, str]:
    """Room and module of `revlm.data.tokens`, or of a name imported from one."""
    parts = name.split(".")[1:]
    if parts and parts[0] in HOUSE and parts[0] != "doors":
        return parts[0], parts[1] if len(parts) > 1 else "__init__"
    first = parts[0] if parts else "__init__"
    return ("doors" if first in HOUSE["doors"] else ""), first


def imports(path: Path) -> list[str]:
    """Names of revlm's own modules that a file imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("revlm")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("revlm"):
            for alias in node.names:
                inside = PACKAGE.joinpath(*node.module.split(".")[1:], alias.name)
                is_module = inside.with_suffix(".py").exists() or inside.is_dir()
                found.append(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_only_to_what_comes_before(path):
    """A module imports earlier rooms, or earlier lines of its own room."""
    here = place(".".join(("revlm", *path.relative_to(PACKAGE).with_suffix("").parts)))
    assert here in RANK, f"{here} has no place in the house: give it one"
    for name in imports(path):
        there = place(name)
        same_folder = here == there and here in {("data", "samples"), ("", "config")}
        assert same_folder or RANK[there] < RANK[here], f"{here} imports {there}"


def test_only_doors_and_the_run_folder_know_hydra():
    """Commands compose options; everything behind them takes plain objects."""
    users = {p.relative_to(PACKAGE).as_posix() for p in FILES if "import hydra" in p.read_text()}
    users |= {p.relative_to(PACKAGE).as_posix() for p in FILES if "from hydra" in p.read_text()}
    assert users <= {f"{door}.py" for door in HOUSE["doors"]}


def packages(nodes):
    """Names of the packages that some statements import."""
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize(
    ("package", "user"),
    [("wandb", "records/wandb_run.py"), ("wandb_workspaces", "records/dashboard.py")],
)
def test_only_one_module_knows_wandb(package, user):
    """metrics.jsonl does not depend on W&B, and neither does anything else; one more draws its dashboard."""
    trees = {p.relative_to(PACKAGE).as_posix(): ast.parse(p.read_text()) for p in FILES}
    assert {name for name, tree in trees.items() if package in packages(ast.walk(tree))} == {user}


def test_the_dashboards_library_is_imported_where_it_is_used():
    """A run that only logs never waits for it."""
    tree = ast.parse((PACKAGE / "records" / "dashboard.py").read_text())
    assert "wandb_workspaces" not in packages(tree.body)


def test_pages_never_load_a_model():
    """Figures and tables are made from result files alone."""
    names = ("runs", "sweeps", "drawing", "captions", "figures", "tables", "usage", "model_card")
    scores = ("score_runs", "score_captions", "score_panels", "score_figures", "score_tables")
    for name in names + scores:
        for imported in imports(PACKAGE / "records" / f"{name}.py"):
            assert place(imported)[0] not in {"models", "training"}, f"{name} imports {imported}"
