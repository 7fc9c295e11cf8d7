"""The corpus on disk: complete or absent, the same everywhere, and fairly split."""

import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revlm.config import DataConfig, Part, Source
from revlm.data.corpus import load_corpus
from revlm.data.document import beginning
from revlm.data.split import content_key, split_mask
from revlm.errors import UserError

ROOT = Path(__file__).parents[2]
BUILD = """
import json, sys
from pathlib import Path
from revlm.config import DataConfig, Source
from revlm.data.corpus import load_corpus
options = json.loads(sys.argv[1])
options["source"] = Source[options["source"]]
corpus = load_corpus(DataConfig(**options), Path(sys.argv[2]))
print(len(corpus.dataset), corpus.fingerprint)
"""


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def files(path, **options):
    return DataConfig(source=Source.files, path=str(path), **options)


def rows(count, size=40):
    return [{"id": f"d{n}", "text": f"{n} ".ljust(size, "x"), "domain": "ab"[n % 2]} for n in range(count)]


def command(options, cache):
    return [sys.executable, "-c", BUILD, json.dumps(options), str(cache)]


def build(options, cache, **popen):
    return subprocess.Popen(
        command(options, cache), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen
    )


def complete(cache):
    return [path for path in (cache / "corpora").iterdir() if path.is_dir()]


@pytest.fixture
def large(tmp_path):
    """A file whose corpus takes a second or so to build."""
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for n in range(60_000):
            file.write(json.dumps({"text": f"{n} " + "lorem ipsum " * 60}) + "\n")
    return path


def test_sample_is_built_once_and_opened_afterwards(tmp_path):
    """The second call opens the same documents without reading a source."""
    config = DataConfig(domains=["plots", "finance"])
    first = load_corpus(config, tmp_path)
    before = (complete(tmp_path)[0] / "corpus.arrow").stat().st_mtime_ns
    second = load_corpus(config, tmp_path)
    assert (complete(tmp_path)[0] / "corpus.arrow").stat().st_mtime_ns == before
    assert first.fingerprint == second.fingerprint
    assert second.dataset.column_names == ["doc_id", "text", "domain", "language", "label"]
    assert set(second.dataset.unique("domain")) == {"plots", "finance"}
    assert second.dataset.cache_files


def test_fingerprint_knows_no_path(tmp_path):
    """The same files under another path, built in another cache, have the same fingerprint."""
    write(tmp_path / "one" / "a.jsonl", rows(10))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one = load_corpus(files(tmp_path / "one"), tmp_path / "cache1")
    two = load_corpus(files(tmp_path / "two"), tmp_path / "cache2")
    assert one.fingerprint == two.fingerprint


def test_fingerprint_sees_every_field(tmp_path):
    """Another text, id, domain, language or order is another corpus."""
    path = write(tmp_path / "a.jsonl", rows(4))
    other = write(tmp_path / "b.jsonl", rows(4)[::-1])
    options = {"id": "id", "domain": "domain"}
    configs = [
        files(path, **options),
        files(other, **options),
        files(path, id="id"),
        files(path, domain="domain", id=""),
        files(path, language="de", **options),
        files(path, text="id", **options),
    ]
    prints = {load_corpus(config, tmp_path / "cache").fingerprint for config in configs}
    assert len(prints) == len(configs)


def test_a_changed_file_is_read_again(tmp_path):
    """The cache belongs to the files as they were: name, size and time of change."""
    path = write(tmp_path / "a.jsonl", rows(3))
    load_corpus(files(path), tmp_path / "cache")
    write(path, rows(5))
    assert len(load_corpus(files(path), tmp_path / "cache").dataset) == 5


def test_empty_and_duplicate_documents_are_counted(tmp_path):
    """What is left out is told, by reason; the first of equal contents stays."""
    texts = ["one", " \n\t", "two", "one", "", "one"]
    path = write(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    corpus = load_corpus(files(path), tmp_path / "cache")
    assert corpus.dataset["text"][:] == ["one", "two"]
    assert corpus.dataset["doc_id"][:] == ["a.jsonl:1", "a.jsonl:3"]
    assert corpus.skipped == {"empty": 2, "duplicate": 2}


def test_an_empty_corpus_is_refused(tmp_path):
    """Nothing to read is an error that counts what was skipped, and leaves no cache."""
    path = write(tmp_path / "a.jsonl", [{"text": " "}])
    with pytest.raises(UserError, match=r"empty corpus \(1 empty"):
        load_corpus(files(path), tmp_path / "cache")
    assert complete(tmp_path / "cache") == []


def test_unknown_domain_is_refused(tmp_path):
    """A domain that no document has is named with those there are."""
    path = write(tmp_path / "a.jsonl", [{"text": "x", "domain": "ArXiv"}])
    with pytest.raises(UserError, match=r"'Arxiv': did you mean 'ArXiv'"):
        load_corpus(files(path, domain="domain", domains=["Arxiv"]), tmp_path / "cache")


def test_domains_keep_only_those_named(tmp_path):
    """Documents of other domains do not enter the corpus."""
    path = write(tmp_path / "a.jsonl", rows(10))
    corpus = load_corpus(files(path, domain="domain", domains=["b"]), tmp_path / "cache")
    assert set(corpus.dataset["domain"]) == {"b"}


@pytest.mark.parametrize("cap", ["max_bytes_per_domain", "max_bytes", "max_documents"])
def test_a_smaller_cap_keeps_a_subset(tmp_path, cap):
    """Caps are kept, and what a small one keeps a larger one keeps too."""
    path = write(tmp_path / "a.jsonl", rows(200))
    kept = []
    for value in (7, 50) if cap == "max_documents" else (300, 2000):
        corpus = load_corpus(files(path, id="id", domain="domain", **{cap: value}), tmp_path / "cache")
        counts = {"max_documents": len(corpus.dataset)}
        counts["max_bytes"] = sum(len(text) for text in corpus.dataset["text"])
        counts["max_bytes_per_domain"] = max(
            sum(len(row["text"]) for row in corpus.dataset if row["domain"] == domain) for domain in "ab"
        )
        assert 0.7 * value <= counts[cap] <= value
        kept.append(set(corpus.dataset["doc_id"]))
    assert kept[0] < kept[1]


def test_caps_choose_by_id_and_not_by_order(tmp_path):
    """The same documents in another order give the same choice."""
    shuffled = rows(100)
    random.Random(0).shuffle(shuffled)
    choices = []
    for name, order in (("a", rows(100)), ("b", shuffled)):
        path = write(tmp_path / f"{name}.jsonl", order)
        choices.append(
            set(load_corpus(files(path, id="id", max_documents=20), tmp_path / "cache").dataset["doc_id"])
        )
    assert choices[0] == choices[1]
    assert choices[0] != {f"d{n}" for n in range(20)}


def test_parts_are_the_sides_of_the_split_whatever_the_caps(tmp_path):
    """Training and held-out documents make up the corpus, and a cap moves none to the other side."""
    path = write(tmp_path / "a.jsonl", rows(300))

    def ids(part, **options):
        config = files(path, id="id", part=Part(part), val_fraction=0.3, **options)
        return set(load_corpus(config, tmp_path / "cache").dataset["doc_id"])

    dataset = load_corpus(files(path, id="id"), tmp_path / "cache").dataset
    held_out = {row["doc_id"] for row, held in zip(dataset, split_mask(dataset, 0.3), strict=True) if held}
    assert ids("held_out") == held_out
    assert ids("training") == ids("all") - held_out
    assert ids("held_out", max_bytes=1000) < held_out
    assert ids("held_out", max_bytes_per_document=10) == held_out


def test_a_document_keeps_its_beginning_in_whole_words():
    """Cut at white space, never inside a character, and counted in bytes."""
    assert beginning("ab cd ef", 5) == "ab cd"
    assert beginning("ab cd ef", 4) == "ab"
    assert beginning("ab cd ef", 8) == beginning("ab cd ef", None) == "ab cd ef"
    assert beginning("\u4eca\u5929\u597d", 7) == "\u4eca\u5929"
    assert beginning("  abcdef gh", 4) == "  ab"


def test_text_without_what_a_cap_keeps(tmp_path):
    """What one cap keeps and what is new beside it share no document; both follow the same order."""
    path = write(tmp_path / "a.jsonl", rows(200))

    def ids(**options):
        config = files(path, id="id", domain="domain", **options)
        return set(load_corpus(config, tmp_path / "cache").dataset["doc_id"])

    known, new = ids(max_bytes_per_domain=1000), ids(without_bytes_per_domain=1000)
    assert known | new == ids()
    assert not known & new
    more = ids(without_bytes_per_domain=1000, max_bytes_per_domain=500)
    assert more < new
    assert len(more) == 2 * (500 // 40)


def test_a_giant_document_does_not_empty_a_domain(tmp_path):
    """A document larger than its cap is passed over, and the others still come in."""
    path = write(tmp_path / "a.jsonl", [{"text": "x" * 5000}, *rows(20)])
    corpus = load_corpus(files(path, max_bytes=400), tmp_path / "cache")
    assert len(corpus.dataset) == 10


def test_a_cap_of_nothing_is_refused(tmp_path):
    """A cap below one names itself."""
    path = write(tmp_path / "a.jsonl", rows(2))
    with pytest.raises(UserError, match=r"data\.max_documents=0 keeps nothing"):
        load_corpus(files(path, max_documents=0), tmp_path / "cache")


def test_two_processes_build_one_corpus(tmp_path, large):
    """Two builds at once leave one intact corpus, and both see it whole."""
    options = {"source": "files", "path": str(large)}
    first, second = build(options, tmp_path / "cache"), build(options, tmp_path / "cache")
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert outputs[0][0] == outputs[1][0], outputs
    assert outputs[0][0].startswith("60000 ")
    assert len(complete(tmp_path / "cache")) == 1


def test_a_killed_build_leaves_nothing_that_counts(tmp_path, large):
    """After SIGKILL in mid-build the next build starts over and clears the debris."""
    cache = tmp_path / "cache"
    process = build({"source": "files", "path": str(large)}, cache)
    deadline = time.monotonic() + 30
    while not any(path.stat().st_size for path in cache.glob("corpora/*/corpus.arrow")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (debris,) = complete(cache)
    assert not (debris / "corpus.json").exists()
    assert len(load_corpus(files(large), cache).dataset) == 60_000
    assert [(path / "corpus.json").exists() for path in complete(cache)] == [True]


def test_a_damaged_cache_is_told(tmp_path):
    """A cached file cut short is refused by its folder, with the way out."""
    path = write(tmp_path / "a.jsonl", rows(50))
    load_corpus(files(path), tmp_path / "cache")
    arrow = complete(tmp_path / "cache")[0] / "corpus.arrow"
    arrow.write_bytes(arrow.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"is damaged: delete it"):
        load_corpus(files(path), tmp_path / "cache")


def test_a_file_size_limit_stops_the_build_cleanly(tmp_path, large):
    """A write that the system refuses, here by a limit any user may set, is told and cleaned up."""
    process = build(
        {"source": "files", "path": str(large)},
        tmp_path / "cache",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )
    _, errors = process.communicate(timeout=60)
    last = errors.strip().splitlines()[-1]
    assert "no space left in" in last
    assert "cache.dir" in last
    assert complete(tmp_path / "cache") == []


def test_a_full_disk_stops_the_build_cleanly(tmp_path, large):
    """A full file system, here 2 MB of memory in a namespace of our own, is told and cleaned up."""
    unshare = shutil.which("unshare")
    space = tmp_path / "cache"
    space.mkdir()
    mount = f"mount -t tmpfs -o size=2m tmpfs '{space}'"
    if (
        not unshare
        or subprocess.run([unshare, "-Urm", "sh", "-c", mount], capture_output=True, check=False).returncode
    ):
        pytest.skip("this system lets users mount no file system in a namespace of their own")
    script = f'{mount} && "$@"; ls "{space}/corpora"'
    options = {"source": "files", "path": str(large)}
    done = subprocess.run(
        [unshare, "-Urm", "sh", "-c", script, "sh", *command(options, space)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert f"no space left in {space}/corpora (" in last
    assert "cache.dir" in last
    assert "building" not in done.stdout


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    """A cache folder that cannot be one, here below a file, names the option that moves it."""
    path = write(tmp_path / "a.jsonl", rows(2))
    with pytest.raises(UserError, match=r"set cache\.dir"):
        load_corpus(files(path), path / "cache")


@given(st.text(), st.randoms())
def test_content_key_ignores_order(text, rng):
    """Any order of a text's characters has the text's key."""
    characters = list(text)
    rng.shuffle(characters)
    assert content_key("".join(characters)) == content_key(text)


def test_content_key_tells_texts_apart(tmp_path):
    """Among thousands of real documents hardly any share a key, and those are rearrangements of each other."""
    dataset = load_corpus(DataConfig(domains=["drama", "wikipedia"]), tmp_path).dataset
    keys = {content_key(text): sorted(text.encode()) for text in dataset["text"]}
    assert all(keys[content_key(text)] == sorted(text.encode()) for text in dataset["text"])
    assert len(keys) >= len(dataset) - 10


def test_reversed_copies_land_on_the_side_of_their_original(tmp_path):
    """A planted copy, reversed by characters or by words, never crosses the split."""
    texts = list(load_corpus(DataConfig(domains=["finance", "plots"]), tmp_path).dataset["text"])
    by_characters = [text[::-1] for text in texts]
    by_words = [" ".join(text.split(" ")[::-1]) for text in texts]
    original, characters, words = np.split(split_mask([*texts, *by_characters, *by_words], 0.2), 3)
    assert original.any()
    assert (original == characters).all()
    assert (original == words).all()


def test_split_follows_the_fraction_and_only_grows(tmp_path):
    """The share comes out as asked, and a larger fraction holds out all that a smaller one did."""
    dataset = load_corpus(DataConfig(domains=["wikipedia"]), tmp_path).dataset
    small, large = split_mask(dataset, 0.05), split_mask(dataset["text"], 0.2)
    assert small.mean() == pytest.approx(0.05, abs=0.01)
    assert large.mean() == pytest.approx(0.2, abs=0.02)
    assert (large | ~small).all()


def test_fraction_zero_holds_out_none():
    """val_fraction=0 trains on everything."""
    assert not split_mask(["a", "b"], 0).any()


@pytest.mark.parametrize(("fraction", "side"), [(1e-9, "none"), (1 - 1e-9, "all")])
def test_a_split_with_an_empty_side_is_refused(fraction, side):
    """A fraction that leaves one side empty names itself and the way out."""
    with pytest.raises(UserError, match=f"puts {side} of 3 documents into validation"):
        split_mask(["a", "b", "c"], fraction)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction):
    """Only shares from 0 to below 1 can be held out."""
    with pytest.raises(UserError, match="is no share"):
        split_mask(["a"], fraction)
