"""`python -m revlm.score` as a user runs it."""

import json
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from pyarrow import parquet

from revlm import cli, score
from revlm.errors import UserError

DATA = ("data=sample", "data.domains=[finance,bbc_news,drama]", "data.max_bytes_per_domain=60000")
QUICK = ("curves.resamples=10", "shard_tokens=5000")


@pytest.fixture(scope="module")
def model(smoke_run):
    return f"model={smoke_run / 'model'}"


@pytest.fixture(scope="module")
def scored(revlm_command, model, tmp_path_factory):
    """A finished scoring run and what it printed."""
    folder = tmp_path_factory.mktemp("scored") / "run"
    run = revlm_command("score", model, *DATA, *QUICK, f"run.dir={folder}")
    assert run.returncode == 0, run.stderr
    return folder, run


@pytest.mark.process
def test_a_run_leaves_what_it_promises(scored):
    """Every file of the contract, the folder's name last, and no shards."""
    folder, run = scored
    names = {path.name for path in folder.iterdir()}
    assert {"scores.parquet", "curves.csv", "curves_language.csv", "intersection.json", "score.json"} <= names
    assert {"confounds.csv", "confounds.md", "config.yaml", "figures"} <= names
    assert "shards" not in names
    assert run.stdout.splitlines()[-1] == str(folder)
    assert "Traceback" not in run.stderr


@pytest.mark.process
def test_the_same_command_finds_its_finished_run(revlm_command, model, scored):
    """Nothing is scored twice."""
    folder, _ = scored
    before = (folder / "scores.parquet").stat().st_mtime_ns
    run = revlm_command("score", model, *DATA, *QUICK, f"run.dir={folder}")
    assert run.returncode == 0
    assert "finished already" in run.stdout
    assert (folder / "scores.parquet").stat().st_mtime_ns == before


STOPPED = "stopped by SIGTERM: finished shards are kept; the same command continues."


@pytest.mark.process
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 143)],
    ids=["SIGKILL", "SIGTERM"],
)
def test_a_stopped_run_ends_in_the_same_bytes(python, model, scored, cache_dir, tmp_path, number, code):
    """SIGKILL or SIGTERM in the middle, the same command again: a table equal to the last byte."""
    command = [python, "-m", "revlm.score", model, *DATA, *QUICK, f"run.root={tmp_path}"]
    environment = os.environ | {"REVLM_CACHE": str(cache_dir)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("score/*/shards/*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    # Progress stands before it.
    assert said.splitlines()[1:] == ([] if number == signal.SIGKILL else [STOPPED])
    (folder,) = tmp_path.glob("score/*")
    done = len(list(folder.glob("shards/*.json")))
    assert done >= 2
    assert not (folder / "score.json").exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    whole, _ = scored
    for name in ("scores.parquet", "curves.csv", "intersection.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.process
def test_a_pair_is_scored_each_way_by_its_own(revlm_command, run_train, tmp_path, cache_dir):
    """Two one-direction models: forward losses of the one, reverse losses of the other."""
    folders = {}
    for name in ("forward", "reverse"):
        folders[name] = run_train(
            tmp_path / name, f"+experiment=from_scratch_{name}", "scale=smoke", "logger=none"
        )
    pair = [f"model.{name}={folder / 'model'}" for name, folder in folders.items()]
    run = revlm_command("score", *pair, *DATA, *QUICK, f"run.dir={tmp_path / 'pair'}")
    assert run.returncode == 0, run.stderr
    table = parquet.read_table(tmp_path / "pair" / "scores.parquet")
    summary = json.loads((tmp_path / "pair" / "score.json").read_text())
    assert (summary["arm"], summary["seed"]) == ("from_scratch_forward_en+from_scratch_reverse_en", 0)
    for name, folder in folders.items():
        one = tmp_path / f"alone_{name}"
        alone = revlm_command("score", f"model={folder / 'model'}", *DATA, *QUICK, f"run.dir={one}")
        assert alone.returncode == 0, alone.stderr
        column = f"nll_{name}"
        expected = parquet.read_table(one / "scores.parquet")[column].to_numpy()
        assert np.allclose(table[column].to_numpy(), expected, atol=1e-5)
    swapped = [
        f"model.forward={folders['reverse'] / 'model'}",
        f"model.reverse={folders['forward'] / 'model'}",
    ]
    refused = revlm_command("score", *swapped, *DATA, f"run.dir={tmp_path / 'swapped'}")
    assert refused.returncode == 2
    assert "was not trained on forward" in refused.stderr


@pytest.mark.process
def test_several_models_give_mean_spread_and_agreement(revlm_command, smoke_run, run_train, tmp_path):
    """Two seeds in one call: the table holds their mean, and how far they agree is written."""
    other = run_train(
        tmp_path / "seed1", "+experiment=from_scratch_mixed", "scale=smoke", "seed=1", "logger=none"
    )
    models = f"model=[{smoke_run / 'model'},{other / 'model'}]"
    run = revlm_command("score", models, *DATA, *QUICK, f"run.dir={tmp_path / 'two'}")
    assert run.returncode == 0, run.stderr
    table = parquet.read_table(tmp_path / "two" / "scores.parquet")
    singles = [parquet.read_table(path)["s"] for path in sorted(tmp_path.glob("two/models/*/scores.parquet"))]
    assert len(singles) == 2
    for seed in (0, 1):
        summary = json.loads(
            (tmp_path / "two" / "models" / f"from_scratch_mixed_en_{seed}" / "score.json").read_text()
        )
        assert (summary["arm"], summary["seed"]) == ("from_scratch_mixed_en", seed)
    stacked = np.stack([s.to_numpy() for s in singles])
    assert np.allclose(table["s"].to_numpy(), stacked.mean(0))
    assert np.allclose(table["s_std"].to_numpy(), stacked.std(0, ddof=1))
    assert "test-retest" in (tmp_path / "two" / "agreement.md").read_text()


@pytest.mark.process
def test_an_unreadable_file_is_named_and_the_rest_goes_on(revlm_command, model, corpus, tmp_path):
    """Scores of what can be read, the file's name on stderr, and an exit code that tells."""
    import gzip

    lines = "".join(json.dumps({"text": text}) + "\n" for text in corpus.dataset["text"][:40])
    (tmp_path / "good.jsonl").write_text(lines)
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:200])
    folder = tmp_path / "run"
    run = revlm_command(
        "score", model, "data=files", f"data.path={tmp_path}/*.jsonl*", f"run.dir={folder}", *QUICK
    )
    assert run.returncode == 2
    assert "torn.jsonl.gz: damaged or truncated gzip" in run.stderr
    assert "Traceback" not in run.stderr
    assert json.loads((folder / "score.json").read_text())["by_domain"]["good"]["num_documents"] > 20
    assert (folder / "figures" / "s_by_domain.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing says which model"),
        (("model.forward=a",), "go together"),
        (("model.path=nowhere/at/all/model",), "there is no such folder"),
        (("model.path=llama_1m",), "has no weights yet"),
        (("{model}", "window=100000"), "longer than the model's context"),
        (("{model}", "min_tokens=1000000"), "no document has min_tokens"),
        (("{model}", "workers=0"), "workers=0"),
        (("{model}", "executor=slurm", *QUICK), "there is no sbatch"),
        (("{model}", "model.precision=float8"), "model.precision=float8"),
        (("{model}", "model.tokenizer={other}"), "is not the one that"),
    ],
)
def test_mistakes_are_refused_with_the_way_out(
    composed_score, smoke_run, tokenizer, tmp_path, monkeypatch, arguments, words
):
    """What is wrong, and what to do about it, before anything is written."""
    tokenizer.save_pretrained(tmp_path / "other")
    # Whatever else this machine has, it has no sbatch.
    monkeypatch.setenv("PATH", str(tmp_path))
    places = {"model": f"model.path={smoke_run / 'model'}", "other": tmp_path / "other"}
    given = [argument.format(**places) for argument in arguments]
    with pytest.raises(UserError, match=re.escape(words)):
        score.score(composed_score(*given, *DATA, f"run.dir={tmp_path / 'run'}"))
    assert not list(tmp_path.glob("run/*.parquet"))


@pytest.mark.process
def test_a_mistake_is_one_line_and_exit_code_2(revlm_command, model):
    """No traceback, and the nearest right name."""
    run = revlm_command("score", model, "modle.device=cpu")
    assert run.returncode == 2
    assert run.stderr.startswith("error: modle: there is no such option. Did you mean model?")
    assert len(run.stderr.splitlines()) == 1


@pytest.fixture
def composed_score(cache_dir):
    """Options as the command line would make them."""
    return lambda *overrides: cli.declared("score", cli.compose("score", overrides))


def test_the_same_options_name_the_same_folder(composed_score):
    """What decides the numbers decides the default folder; who computes them does not."""
    base = composed_score("model.path=a", "data=sample").run.dir
    assert composed_score("model.path=a", "data=sample", "workers=2", "executor=ray").run.dir == base
    assert composed_score("model.path=b", "data=sample").run.dir != base
    assert composed_score("model.path=a", "data=sample_de").run.dir != base
    assert composed_score("model.path=a", "data=sample", "window=64").run.dir != base
