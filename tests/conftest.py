"""Real text, a real tokenizer trained on it, and small models: shared by all tests."""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from revlm import cli, train
from revlm.config import DataConfig, ModelConfig
from revlm.data.corpus import load_corpus
from revlm.data.layout import Layout
from revlm.data.split import split_mask
from revlm.data.streams import IGNORE
from revlm.data.tokens import begin_id, build_store, train_bpe
from revlm.direction import Direction, orient
from revlm.models.backbone import from_config
from revlm.models.nll import TokenLoss

# Tiny models gain nothing from threads, and on a busy machine waiting threads cost minutes.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "tie_word_embeddings": True,
}
# Files of a minute and more, the longest first.
LONGEST = (
    "tests/test_reproduce.py",
    "studies/test_pages.py",
    "tests/test_cli.py",
    "studies/test_quality_verdicts.py",
)
# Texts that go round in circles: whatever stands before or after a piece of one is known.
WORDS, CHARACTERS = " a b c d", "今天很好"


def pytest_addoption(parser):
    """Commands start from a process that has the libraries imported already, unless --fresh is given."""
    parser.addoption("--fresh", action="store_true", help="start each command as a new Python (slow)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The longest files first: two workers then end at about the same time. What starts a process is marked so."""
    for item in items:
        if "python" in item.fixturenames:
            item.add_marker("process")
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(f"{item.path.parent.name}/{item.path.name}", len(LONGEST)))


@pytest.fixture(autouse=True)
def _environment():
    """Whatever a test, or a library that it calls, sets in the environment is gone before the next test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    """A cache of this session's own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["REVLM_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def corpus(cache_dir):
    """Real documents of three domains: short, medium and long ones."""
    data = DataConfig(domains=["finance", "bbc_news", "drama"], max_bytes_per_domain=60_000)
    return load_corpus(data, cache_dir)


@pytest.fixture(scope="session")
def tokenizer(corpus):
    """A byte-level BPE of 512 pieces."""
    return train_bpe(corpus.dataset["text"], 512)


@pytest.fixture(scope="session")
def store(corpus, tokenizer, cache_dir):
    """Token ids of the corpus, a tenth held out."""
    held_out = split_mask(corpus.dataset, 0.1)
    return build_store(
        corpus.dataset, held_out, tokenizer, corpus_fingerprint=corpus.fingerprint, cache_dir=cache_dir
    )


@pytest.fixture
def layout(tokenizer):
    """Packed rows of windows of 64."""
    return Layout.of(tokenizer, window=64, packed=True)


@pytest.fixture
def tiny_lm(tokenizer):
    """A Llama with random weights, deterministic."""
    torch.manual_seed(0)
    return from_config(ModelConfig(config=dict(TINY)), tokenizer, 130).eval()


@pytest.fixture(scope="session")
def circling_lm(tokenizer):
    """A model that has learned both circles in both directions; it takes two seconds."""
    torch.manual_seed(0)
    model = from_config(ModelConfig(config=dict(TINY)), tokenizer, 33)
    circles = [
        np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (WORDS, CHARACTERS)
    ]
    loss, rng = TokenLoss(model), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(250):
        windows = [np.resize(np.roll(ids, -rng.integers(len(ids))), 16) for ids in circles * 4]
        rows = torch.tensor([[begin_id(tokenizer), *orient(ids, d)] for ids in windows for d in Direction])
        labels = torch.where(torch.arange(17) > 0, rows, IGNORE)
        loss.sum_nll(rows, labels, torch.arange(17).expand(len(rows), 17)).div(rows.numel()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="session")
def compose():
    """Options as the command line would make them."""
    return lambda *overrides: cli.compose("train", overrides, return_hydra_config=True)


@pytest.fixture(scope="session")
def run_train(compose, cache_dir):
    """Train in this process, as `python -m revlm.train OVERRIDES` does, and give the folder."""

    def run(folder: Path, *overrides: str) -> Path:
        config = compose(*overrides, f"run.dir={folder}", "trainer.progress_bar=false")
        with open_dict(config):
            config.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(config)
        del config.hydra
        train.train(cli.declared("train", config))
        return folder

    yield run
    HydraConfig.instance().cfg = None


@pytest.fixture(scope="session")
def smoke_run(run_train, tmp_path_factory):
    """A finished mixed run, with W&B's offline files."""
    folder = tmp_path_factory.mktemp("runs") / "mixed"
    return run_train(folder, "+experiment=from_scratch_mixed", "scale=smoke")


@pytest.fixture(scope="session")
def python(request):
    """A program that runs `-m revlm.NAME ARGUMENTS` in a process of its own, without waiting for libraries."""
    if request.config.getoption("--fresh") or not hasattr(os, "fork"):
        yield sys.executable
        return
    warm = Path(__file__).with_name("warm.py")
    # Not below tmp_path: the address of a socket has to be short.
    with tempfile.TemporaryDirectory() as folder:
        address, program, log = (Path(folder) / name for name in ("socket", "python", "log"))
        program.write_text(
            f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", str(warm), str(address)])} "$@"\n'
        )
        program.chmod(0o755)
        with log.open("w") as file:
            command = [sys.executable, "-P", str(warm), "serve", str(address)]
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        while not address.exists():
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
        yield str(program)
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def revlm_command(cache_dir, python):
    """Start `python -m revlm.NAME ARGUMENTS` as a user would."""

    def run(name: str, *arguments: str, check: bool = False, cwd: Path | None = None, **env: str):
        return subprocess.run(
            [python, "-m", f"revlm.{name}", *arguments],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=os.environ | {"REVLM_CACHE": str(cache_dir)} | env,
            check=check,
        )

    return run


def one_window_row(ids, layout):
    """input_ids, labels and position_ids of a row with one window, by hand: BOS + ids."""
    row = torch.tensor([[layout.bos, *np.asarray(ids).tolist()]])
    labels = row.clone()
    labels[:, 0] = -100
    return row, labels, torch.arange(row.shape[1])[None]
