"""The house: data flows one way, and imports go only to what comes before."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import revlm

PACKAGE = Path(revlm.__file__).parent

# Rooms in the order in which the data flows; inside a room, modules in theirs. A dotted room lies in a folder of a room.
HOUSE = {
    "": [
        "__init__", "errors", "keys", "progress", "cache", "config", "checks", "direction", "markup", "paths", "stopping", "memory",
    ],
    "statistics": ["__init__", "effect", "bootstrap", "correlations", "ranks", "paired", "kneser_ney"],
    "data": [
        "__init__", "document", "reading", "hashes", "order", "rows", "split", "samples", "sample", "caps", "lines", "question_sets",
        "tables", "files", "hub", "controls", "damage", "corpus", "pieces", "tokens", "units", "layout", "windows", "streams",
        "datamodule",
    ],
    "models": ["__init__", "precision", "chunked_loss", "nll", "backbone", "generation", "language_model"],
    "measures": [
        "__init__", "crossing", "curve_files", "curves", "text_statistics", "scoring", "document_scores", "sliding", "counted", "tasks",
        "evaluation",
    ],
    "scores": [
        "__init__", "table", "columns", "opened", "shards", "merge", "aligned", "combine", "agreement", "confounds",
        "equal_context",
    ],
    "selection": ["__init__", "candidates", "scored_corpus", "dsir", "rules", "budget", "choice", "write"],
    "training.strategies": ["fsdp", "__init__"],
    "training": [
        "__init__", "muon", "optimizers", "throughput", "modules", "callbacks", "checkpoints", "stopping", "arithmetic",
        "trainer", "build",
    ],
    "integrations": ["__init__", "datatrove", "executors"],
    "records": ["__init__", "folder", "wandb_run", "dashboard", "logger", "results"],
    "pages": ["__init__", "files", "text", "drawing", "contexts", "evaluations"],
    "pages.runs": ["__init__", "run", "sweeps", "captions", "figures", "tables", "model_card"],
    "pages.scores": ["__init__", "run", "tracking", "captions", "panels", "figures", "crossings", "tables"],
    "costs": [
        "__init__", "accelerators", "arithmetic", "memory", "texts", "case", "stopwatch", "reading", "probe",
        "times", "result", "estimate", "words", "opening",
    ],
    "explorer": ["__init__", "texts", "colours", "newest"],
    "studies": [
        "__init__", "records", "arms", "effects", "verdicts", "study", "pictures", "pretrained_bias", "from_scratch",
        "continued", "crossings", "intersection_pictures", "intersection", "null_controls", "quality_measures",
        "quality", "selected", "catalogue", "pages", "html",
    ],
    "doors": [
        "composition", "sources", "mistakes", "cli", "train", "score", "contexts", "generate", "export", "select",
        "evaluate", "collect", "report", "dashboard", "cost",
    ],
}  # fmt: skip
RANK = {
    (room, module): (floor, line)
    for floor, (room, modules) in enumerate(HOUSE.items())
    for line, module in enumerate(modules)
}
# Rooms that do not know each other, and rooms from which a model is out of reach at any depth.
STRANGERS = [{"pages.runs", "pages.scores"}]
FROM_FILES_ALONE = ("pages", "studies")
MODEL_ROOMS = {"models", "training"}


def place(name: str) -> tuple[str, str]:
    """Room and module of `revlm.data.tokens`, or of a name imported from one."""
    parts = name.split(".")[1:]
    for depth in (2, 1):
        room = ".".join(parts[:depth])
        if len(parts) >= depth and room in HOUSE and room != "doors":
            return room, parts[depth] if len(parts) > depth else "__init__"
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
        assert {here[0], there[0]} not in STRANGERS, f"{here} imports {there}"


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


def reached(start: Path) -> dict[str, Path]:
    """Every module of revlm that a file imports, at any depth and anywhere in a file: name -> its file."""
    found: dict[str, Path] = {}
    waiting = [start]
    while waiting:
        for name in imports(waiting.pop()):
            inside = PACKAGE.joinpath(*name.split(".")[1:])
            path = inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
            if name not in found:
                found[name] = path
                waiting.append(path)
    return found


PAGES = [path for path in FILES if path.relative_to(PACKAGE).parts[0] in FROM_FILES_ALONE]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_pages_and_studies_never_reach_a_model(path):
    """Pages are made from files alone, on a machine without torch."""
    rooms = {name: place(name)[0] for name in reached(path)}
    assert not [name for name, room in rooms.items() if room in MODEL_ROOMS]


def test_the_report_of_studies_runs_without_torch(tmp_path):
    """`make results` makes tables, pictures and pages anew and never imports torch."""
    experiments = tmp_path / "experiments"
    # Every study is imported; one is enough to draw.
    shutil.copytree(PACKAGE.parent / "experiments" / "01_pretrained_bias", experiments / "01_pretrained_bias")
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['revlm.report', 'runs=null', 'experiments={experiments}', 'run.dir={tmp_path}/report']\n"
        "try:\n    runpy.run_module('revlm.report', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'lightning', 'transformers', 'datasets', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, capture_output=True)
    assert (tmp_path / "report" / "report.html").is_file()
