"""Streaming a dataset: local folders of one, and a hub that is not there."""

import json
import os
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from pyarrow import parquet

from revlm.config import DataConfig, Source
from revlm.data.corpus import load_corpus
from revlm.data.hub import read_hub
from revlm.errors import UserError

ROWS = [
    {"text": f"text number {n}", "key": n, "meta": {"set": "ArXiv" if n % 2 else "C4"}} for n in range(20)
]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "dataset"
    path.mkdir()
    (path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def config(path, **options):
    return DataConfig(source=Source.hub, path=str(path), **options)


def refusal(path, **options):
    with pytest.raises(UserError) as error:
        list(read_hub(config(path, **options)))
    return str(error.value)


def test_a_local_folder_streams_like_a_dataset(folder):
    """Rows come in order, with ids of split and row and the folder's name as domain."""
    documents = list(read_hub(config(folder)))
    assert [document.text for document in documents] == [row["text"] for row in ROWS]
    assert documents[0].doc_id == "train:1"
    assert {document.domain for document in documents} == {"dataset"}


def test_parquet_and_nested_columns(tmp_path):
    """Column names descend with dots, as for files."""
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "train.parquet")
    documents = list(read_hub(config(tmp_path, id="key", domain="meta.set")))
    assert [(document.doc_id, document.domain) for document in documents[:2]] == [("0", "C4"), ("1", "ArXiv")]


def test_caps_keep_the_beginning_of_the_stream(folder, tmp_path):
    """The hub's caps never read past what they keep: a later broken row does no harm."""
    with (folder / "train.jsonl").open("a") as file:
        file.write(json.dumps({"text": "nul \0", "key": 99, "meta": {"set": "C4"}}) + "\n")
    corpus = load_corpus(config(folder, max_documents=5), tmp_path / "cache")
    assert corpus.dataset["text"][:] == [row["text"] for row in ROWS[:5]]


def test_a_domain_that_is_full_does_not_stop_the_others(folder, tmp_path):
    """A byte cap per domain fills each domain from the beginning of the stream."""
    corpus = load_corpus(config(folder, domain="meta.set", max_bytes_per_domain=40), tmp_path / "cache")
    assert corpus.dataset["text"][:] == [row["text"] for row in ROWS[:6]]


def test_missing_column_names_the_row(folder):
    """A wrong column name is refused with those there are."""
    assert "row 1: no field 'txt' (data.text): did you mean 'text'?" in refusal(folder, text="txt")


def test_unknown_split_is_refused(folder):
    """A split that does not exist is named."""
    assert "data.split=validation" in refusal(folder, split="validation")


def test_an_empty_folder_is_refused(tmp_path):
    """A folder without data files is named."""
    assert f"data.path={tmp_path}" in refusal(tmp_path)


def test_a_path_that_is_neither_is_refused():
    """A folder that does not exist is no dataset id either."""
    assert "neither a local folder nor a dataset id" in refusal("/no/such/folder")


def test_duplicate_ids_are_refused(folder, tmp_path):
    """Two rows of a stream cannot share an id."""
    with pytest.raises(UserError, match=r"id 'C4' occurs twice"):
        load_corpus(config(folder, id="meta.set"), tmp_path / "cache")


def test_no_path_names_the_option():
    """data=hub without a name says which option to set."""
    with pytest.raises(UserError, match=r"set data\.path"):
        read_hub(DataConfig(source=Source.hub))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        # Port 9 of this machine refuses connections: a hub that is down.
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub cannot be reached"),
    ],
)
def test_an_absent_hub_is_told_at_once(environment, message):
    """Without a hub the answer is one line within seconds, and names the way out."""
    code = (
        "from revlm.config import *; from revlm.data.hub import read_hub\n"
        "list(read_hub(DataConfig(source=Source.hub, path='someone/some-data')))"
    )
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert message in last
    assert "data=files" in last
    assert time.monotonic() - start < 20


def test_a_saved_dataset_is_read_like_a_hub_one(tmp_path):
    """Folders of save_to_disk, one split or several, give the rows that their makers saved."""
    import datasets

    saved = datasets.Dataset.from_list([{"text": row["text"]} for row in ROWS])
    saved.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": saved, "test": saved.select([0])}).save_to_disk(str(tmp_path / "split"))
    texts = [row["text"] for row in ROWS]
    assert [document.text for document in read_hub(config(tmp_path / "one"))] == texts
    assert [document.text for document in read_hub(config(tmp_path / "split"))] == texts


def test_brackets_in_a_folder_s_name_are_no_pattern(folder, tmp_path):
    """A folder that exists means itself, also where the library would expand its name."""
    bracketed = folder.rename(tmp_path / "[web] data")
    assert [document.text for document in read_hub(config(bracketed))] == [row["text"] for row in ROWS]


def test_links_in_a_folder_with_brackets_end(folder, tmp_path):
    """A link that goes round in circles is followed once, and what it holds is read once."""
    bracketed = folder.rename(tmp_path / "[web] data")
    (bracketed / "loop").symlink_to(bracketed, target_is_directory=True)
    assert len(list(read_hub(config(bracketed)))) == len(ROWS)
