"""One group of runs in W&B, and the dashboard that shows it."""

import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from pyarrow import parquet

from revlm import cli, evaluate, keys, score, select
from revlm.errors import UserError
from revlm.models.language_model import model_name
from revlm.records.dashboard import adopt, as_json, build
from tests.records.test_logger import wandb_lines, wandb_records

DATA = ("data=sample", "data.domains=[finance,bbc_news,drama]", "data.max_bytes_per_domain=60000")
SECTIONS = ("Loss by direction", "Gap", "Curves by position", "Intersection by domain", "S", "Selection arms")


def options(name, *overrides):
    """Options as the command line would make them."""
    return cli.declared(name, cli.compose(name, overrides))


@pytest.fixture(scope="module")
def group(smoke_run, run_train, tmp_path_factory):
    """Folders of one group by command: a training run, scores, a selection and an evaluation."""
    root = tmp_path_factory.mktemp("group")
    folders = {command: root / command for command in ("train", "score", "select", "evaluate")}
    places = {command: (f"run.dir={folder}", "logger.group=x") for command, folder in folders.items()}
    mine = ("scale=smoke", "budget.tokens=2_000", "logger.tags=[mine]")
    run_train(folders["train"], "+experiment=from_scratch_mixed", *mine, "logger.group=x")
    model = f"model.path={smoke_run / 'model'}"
    score.score(options("score", model, *DATA, "curves.resamples=20", *places["score"]))
    scores = f"scores={folders['score']}"
    select.select(options("select", scores, *DATA, "budget_tokens=12000", *places["select"]))
    few = ("tasks=[piqa]", "limit=2")
    evaluate.evaluate(options("evaluate", model, *few, *places["evaluate"]))
    return folders


def described(folder):
    """Under which W&B lists a run."""
    return next(record["run"] for record in wandb_lines(folder) if record["type"] == "run")


@pytest.mark.parametrize(
    ("command", "tags"),
    [
        ("train", ["mixed", "llama_tiny", "en", "mine"]),
        ("score", ["MODEL", "forward", "reverse", "en", "bbc_news", "drama", "finance"]),
        ("select", ["top_s", "s", "MODEL"]),
        ("evaluate", ["MODEL", "forward", "piqa"]),
    ],
)
def test_a_group_holds_the_runs_of_all_commands(group, smoke_run, command, tags):
    """logger.group= names the group, the command is the job type, and tags say what was done with what."""
    run = described(group[command])
    assert (run["run_group"], run["job_type"]) == ("x", command)
    model = model_name(str(smoke_run / "model"))
    assert run["tags"] == [tag.replace("MODEL", model) for tag in tags]


def test_without_a_group_a_run_stands_under_its_experiment(smoke_run):
    """As ever: seeds and repeats of one experiment stand together."""
    assert described(smoke_run)["run_group"] == "from_scratch_mixed"


def test_the_logger_is_no_part_of_what_is_scored_or_selected():
    """Options of the logger change no folder's name: the same command finds its folder again."""
    for name, given in (("score", ("model.path=a",)), ("select", ("scores=a", "budget_tokens=5"))):
        logger = ("logger=none", "logger.group=x", "logger.project=y", "logger.tags=[z]")
        assert options(name, *given, *logger).run.dir == options(name, *given).run.dir


def test_a_scoring_run_tells_every_domain(group):
    """Losses, s, gap and crossing of each domain and of all, as the files have them."""
    (row,), exits = wandb_records(group["score"])
    summary = json.loads((group["score"] / "score.json").read_text())
    crossings = json.loads((group["score"] / "intersection.json").read_text())
    for domain, means in {"all": summary, **summary["by_domain"]}.items():
        crossing = crossings["domain"].get(domain, crossings["all"])
        expected = {name: means[name] for name in ("s", "nll_forward", "nll_reverse")} | {
            "gap": means["nll_reverse"] - means["nll_forward"],
            "intersection": crossing["position"],
            "share_never": crossing["share_never"],
        }
        assert {name: row.get(keys.score(domain, name)) for name in expected} == pytest.approx(expected)
    assert exits == [0]


def test_a_scoring_run_tells_how_s_spreads(group):
    """Quantiles as scalars for terminals and a histogram of all documents for the web."""
    (row,), _ = wandb_records(group["score"])
    s = parquet.read_table(group["score"] / "scores.parquet")["s"].to_numpy()
    quantiles = [row[keys.s_quantile(percent)] for percent in keys.S_PERCENTILES]
    assert quantiles == pytest.approx(list(np.percentile(s, keys.S_PERCENTILES)))
    assert sum(row[f"{keys.SCORE_HISTOGRAM}.values"]) == len(s)
    assert {keys.curve(d, p, keys.SCORE_CURVES) for d in ("forward", "reverse") for p in (0, 1, 63)} <= set(
        row
    )


def test_a_finished_scoring_run_is_sent_once(group, smoke_run):
    """The same command again leaves one W&B run."""
    config = options(
        "score",
        f"model.path={smoke_run / 'model'}",
        *DATA,
        "curves.resamples=20",
        f"run.dir={group['score']}",
    )
    score.score(config)
    assert len(list(group["score"].glob("wandb/offline-run-*"))) == 1


def test_a_selection_tells_what_it_took(group):
    """Rule, budget, counts and mean s of what was taken and of all."""
    records = wandb_lines(group["select"])
    (row,), exits = wandb_records(group["select"])
    facts = json.loads((group["select"] / "selection.json").read_text())
    assert {key: value for key, value in row.items() if key.startswith("select/")} == {
        keys.SELECT_BUDGET: facts["budget_tokens"],
        keys.SELECT_DOCUMENTS: facts["num_documents"],
        keys.SELECT_TOKENS: facts["num_tokens"],
        keys.SELECT_S: facts["selected"]["mean_s"],
        keys.SELECT_S_ALL: facts["all"]["mean_s"],
    }
    assert keys.SELECT_RULE in json.dumps([record for record in records if record["type"] == "summary"])
    assert exits == [0]


def test_no_trouble_of_wandb_costs_a_selection(group, tmp_path, capsys):
    """A project that W&B refuses leaves the selection whole."""
    given = (f"scores={group['score']}", *DATA, "budget_tokens=12000", "logger.project=a/b")
    select.select(options("select", *given, f"run.dir={tmp_path / 'out'}"))
    assert "W&B is off from here" in capsys.readouterr().out
    assert (tmp_path / "out" / "selection.json").exists()


def panels_of(view):
    """(view type, configuration) of every panel."""
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return [(panel["viewType"], panel["config"]) for section in sections for panel in section["panels"]]


def table_of(config):
    """The table that a custom chart draws."""
    (query,) = config["userQuery"]["queryFields"]
    (table,) = [field for field in query["fields"] if field["name"] == "summaryTable"]
    return table["args"][0]["value"]


def test_every_key_of_the_dashboard_is_one_that_runs_log(group, smoke_run):
    """The dashboard fills itself: no panel waits for a metric that no command has."""
    logged = {
        key.partition("._")[0]
        for folder in (smoke_run, *group.values())
        for row in wandb_records(folder)[0]
        for key in row
    }
    view = json.loads(as_json(build("", "revlm")))
    wanted, patterns = set(), set()
    for kind, config in panels_of(view):
        wanted |= set(config.get("metrics", []))
        wanted |= {table_of(config)} if kind == "Vega2" else set()
        wanted |= {config["xAxis"]} - {"_step"} if "xAxis" in config else set()
        patterns |= {config["metricRegex"]} if "metricRegex" in config else set()
    columns = view["spec"]["section"]["runSets"][0]["runFeed"]["columnOrder"]
    wanted |= {column.removeprefix("summary:") for column in columns if column.startswith("summary:")}
    assert len(wanted) > 20
    assert wanted <= logged
    assert len(patterns) == 3
    assert [pattern for pattern in patterns if not any(re.search(pattern, key) for key in logged)] == []


def test_charts_of_tables_name_their_columns(group, smoke_run):
    """W&B's own drawings find the columns that they are told to draw."""
    found = {}
    for folder in (smoke_run, group["score"]):
        for path in folder.glob("wandb/offline-run-*/files/media/table/**/*.table.json"):
            found[re.sub(r"_\d+_[0-9a-f]+$", "", path.name.removesuffix(".table.json"))] = json.loads(
                path.read_text()
            )["columns"]
    charts = [
        config for kind, config in panels_of(json.loads(as_json(build("", "revlm")))) if kind == "Vega2"
    ]
    assert len(charts) == 5
    for config in charts:
        assert set(config["fieldSettings"].values()) <= set(found[table_of(config).rpartition("/")[2]])


def test_the_dashboard_is_built_without_network(monkeypatch):
    """The same bytes each time, runs listed by group, and the library reads it back."""
    from wandb_workspaces.workspaces.internal import WorkspaceViewspec

    def refused(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refused)
    text = as_json(build("me", "revlm"))
    assert text == as_json(build("me", "revlm"))
    view = json.loads(text)
    spec = WorkspaceViewspec.model_validate(view["spec"])
    assert tuple(section.name for section in spec.section.panel_bank_config.sections) == SECTIONS
    assert [(key.section, key.name) for key in spec.section.run_sets[0].grouping] == [("run", "group")]
    ids = [
        panel["__id__"]
        for section in view["spec"]["section"]["panelBankConfig"]["sections"]
        for panel in section["panels"]
    ]
    assert len(set(ids)) == len(ids)


def test_a_saved_dashboard_keeps_its_name_in_its_project_only(tmp_path):
    """What an earlier call saved is replaced; another project or entity begins anew."""
    saved = json.loads(as_json(build("me", "revlm"))) | {"name": "nw-abc-v", "id": "V1"}
    path = tmp_path / "dashboard.json"
    path.write_text(json.dumps(saved))
    names = {}
    for entity, project in (("", "revlm"), ("me", "revlm"), ("team", "revlm"), ("me", "other")):
        workspace = build(entity, project)
        adopt(workspace, path)
        names[entity, project] = json.loads(as_json(workspace))["name"]
    assert list(names.values()) == ["nw-abc-v", "nw-abc-v", "", ""]
    path.write_text("{}")
    with pytest.raises(
        UserError, match=r"not the JSON of a dashboard: remove the file, or choose another out="
    ):
        adopt(build("", "revlm"), path)


class Server(BaseHTTPRequestHandler):
    """Answers as W&B's does to who is asking and to a view that is saved."""

    views: list = []  # noqa: RUF012 -- one server in one test

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            answer = {"viewer": {"id": "1", "entity": "me", "username": "me", "teams": {"edges": []}}}
            if "upsertView" in asked["query"]:
                self.views.append(asked["variables"])
                answer = {"upsertView": {"view": {"id": "V1", "name": asked["variables"]["name"]}}}
        text = json.dumps({"data": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.mark.process
def test_saving_sends_what_the_file_holds_and_again_replaces_it(revlm_command, tmp_path):
    """One command saves, prints the address and then the file; a second one updates the same view."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    env = {"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40}
    for _ in range(2):
        done = revlm_command("dashboard", "save=true", cwd=tmp_path, **env)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "dashboard.json"
        assert done.stdout.startswith(f"{address}/me/revlm?nw=")
    server.shutdown()
    first, second = Server.views
    saved = json.loads((tmp_path / "dashboard.json").read_text())
    assert json.loads(first["spec"]) == json.loads(second["spec"]) == saved["spec"]
    assert "id" not in first
    assert (second["id"], second["name"]) == (saved["id"], saved["name"]) == ("V1", first["name"])
    assert saved["entity"] == first["entityName"] == "me"


@pytest.mark.process
def test_saving_without_a_login_is_one_line(revlm_command, tmp_path):
    """What is wrong and the way out; without save=true the same command needs nothing."""
    env = {"NETRC": str(tmp_path / "netrc"), "WANDB_API_KEY": "", "WANDB_CONFIG_DIR": str(tmp_path)}
    refused = revlm_command("dashboard", "save=true", cwd=tmp_path, **env)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "wandb login" in refused.stderr
    assert not (tmp_path / "dashboard.json").exists()
    done = revlm_command("dashboard", cwd=tmp_path, **env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "dashboard.json\n", "")
