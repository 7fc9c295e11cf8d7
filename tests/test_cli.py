"""Bad input answers with one line, exit code 2 and nothing half-written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from revlm.composition import COMMANDS

HEAVY = {
    "datasets", "lightning", "matplotlib", "pandas", "pyarrow", "scipy", "torch", "transformers", "wandb",
}  # fmt: skip
MISTAKES = {
    "+experiment=from_scrach_mixed": "Did you mean from_scratch_mixed?",
    "data.windw=3": "data.windw: there is no such option. Did you mean data.window?",
    "+data.foo=1": "data.foo: there is no such option.",
    "scal=smoke": "Did you mean scale?",
    "experiment=from_scratch_mixed": "write +experiment=NAME",
    "data.window=abc": "data.window: Value 'abc' of type 'str' could not be converted to Integer",
    "data.packing=foo": "data.packing: Invalid value 'foo', expected one of [packed, padded]",
    "window": "window: not of the form key=value",
    "direction.reverse_ratio=1.5": "direction.reverse_ratio=1.5: a share lies between 0 and 1.",
    "data.val_fraction=0": "data.val_fraction=0.0: a share of held-out documents lies between 0 and 1",
    "seed=-1": "seed=-1: set it to 0 or more.",
    "optimizer.beta1=1.5": "optimizer.beta1=1.5: set it to 0 or more and below 1.",
    "trainer.accelerator=tpus": "trainer.accelerator=tpus: choose one of auto, cpu, gpu",
    "trainer.precision=bf17": "trainer.precision=bf17: choose one of auto, 32-true",
    "model=custom +model.config.hidden_sizes=64": "Did you mean hidden_size?",
    "model.config.hidden_size=130": "makes no model",
    "model.config.num_attention_heads=0": "makes no model",
    "model=custom": "model=custom says no size",
    "+model.config.max_position_embeddings=16": "rows of 65 tokens are longer than the model's context (16)",
    "data.window=0": "data.window=0: set it to 1 or more.",
    "optimizer.lr=-1": "optimizer.lr=-1.0: set it to 0 or more.",
    "curves.smoothing=4": "curves.smoothing=4: a centred average needs an odd number.",
    "direction=forward direction.reverse_ratio=0.5": (
        "ForwardLM trains on forward, the data is forward and reverse: choose both together with direction=forward, reverse or mixed."
    ),
    "init=pretrained model=llama_1m": "model=llama_1m has no pretrained weights: choose model=smollm2",
    "ckpt_path=nowhere.ckpt": "ckpt_path=nowhere.ckpt: only last is known here",
    "data=files data.path=nothing/*.jsonl": "nothing/*.jsonl",
    "data.domains=[bbc_newz]": "bbc_news",
    "model.type=lama": "model.type=lama",
    "budget.batch_size=7 budget.micro_batch_size=2": "budget.batch_size=7 does not divide",
    "seed=0,1 trainer.devices=2 -m": "a sweep's job uses one device",
    "tokenizer.path=nowhere/at/all": "no tokenizer could be read from nowhere/at/all",
}


@pytest.mark.process
@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_one_line_with_the_way_out(arguments, revlm_command, tmp_path):
    """What is wrong, where, and the way out; exit code 2; no traceback; no run folder with results."""
    options = () if "scal=" in arguments else ("scale=smoke",)
    run = revlm_command(
        "train", *options, "logger=none", f"run.root={tmp_path}", *arguments.split(" "), cwd=tmp_path
    )
    assert run.returncode == 2, run.stderr
    assert MISTAKES[arguments] in run.stderr
    if not arguments.endswith(" -m"):
        assert run.stderr.count("\n") == 1, run.stderr
        assert run.stderr.startswith("error: ")
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {"config.yaml", ".lock", "multirun.yaml"}, left


@pytest.mark.process
def test_bad_files_are_named(revlm_command, tmp_path):
    """Invalid UTF-8 in a user's file stops the run with file and offset before anything is trained."""
    (tmp_path / "bad.txt").write_bytes(b"good text \xff bad")
    run = revlm_command(
        "train",
        "scale=smoke",
        "logger=none",
        "data=files",
        "data.path=*.txt",
        f"run.root={tmp_path / 'r'}",
        cwd=tmp_path,
    )
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "bad.txt" in run.stderr
    assert "10" in run.stderr


@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    """--help and option errors answer at once because no large library is loaded for them."""
    program = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('revlm.{command}', run_name='__main__')\n"
        f"except SystemExit: pass\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        f"print('HEAVY', sorted(heavy))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"python -m revlm.{command}" in run.stdout
    assert run.stdout.rstrip().endswith("HEAVY []")


@pytest.mark.process
def test_a_full_disk_is_one_line(revlm_command, tmp_path):
    """No space left: the message names the disk and the options, and no run looks finished."""
    full = tmp_path / "full"
    full.mkdir()
    script = (
        f"mount -t tmpfs -o size=300k tmpfs {full} && "
        f"exec {sys.executable} -m revlm.train scale=smoke logger=none run.dir={full}/run"
    )
    run = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    if "unshare" in run.stderr or "mount:" in run.stderr:
        pytest.skip("this system lets no test mount a small disk of its own")
    assert run.returncode == 2, run.stderr
    assert "no space left on the disk of" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.process
def test_the_installed_package_runs_from_any_folder(tmp_path, cache_dir):
    """The wheel carries conf/: an installed revlm composes its options without the checkout."""
    root = Path(__file__).resolve().parent.parent
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, root],
        check=True,
    )
    wheel = next(wheels.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel], check=True
    )
    program = "import revlm, json, sys; print(json.dumps(revlm.__file__))"
    env = os.environ | {"PYTHONPATH": str(site), "REVLM_CACHE": str(cache_dir)}
    where = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert json.loads(where.stdout).startswith(str(site))
    run = subprocess.run(
        [sys.executable, "-m", "revlm.train", "+experiment=from_scratch_mixed", "scale=smoke", "logger=none"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert list((tmp_path / "runs" / "from_scratch_mixed").glob("*/summary.json"))
