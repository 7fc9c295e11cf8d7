"""Reading JSONL, Parquet and plain text, and every way in which files go wrong."""

import bz2
import gzip
import json
import lzma
import shutil
import tracemalloc

import pyarrow as pa
import pytest
import zstandard
from datasets import Dataset
from pyarrow import parquet

from revlm.config import DataConfig, Source, TextFormat, Unreadable
from revlm.data.files import read_files
from revlm.data.reading import Reading, told
from revlm.errors import UserError

ROWS = [{"text": "first text", "n": 1}, {"text": "zweiter Text, größer", "n": 2}]


def config(path, **options):
    return DataConfig(source=Source.files, path=str(path), **options)


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zst":
        data = zstandard.ZstdCompressor().compress(data)
    if path.suffix == ".xz":
        data = lzma.compress(data)
    if path.suffix == ".bz2":
        data = bz2.compress(data)
    path.write_bytes(data)
    return path


def read(path, **options):
    return list(read_files(config(path, **options)))


def refusal(path, **options):
    with pytest.raises(UserError) as error:
        read(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "a.jsonl",
        "a.ndjson",
        "a.json",
        "a.JSONL",
        "a.jsonl.gz",
        "a.jsonl.zst",
        "a.jsonl.xz",
        "a.jsonl.bz2",
        "a.JSONL.GZ",
    ],
)
def test_jsonl_reads_alike_under_every_ending(tmp_path, name):
    """The ending decides how a file is opened and changes nothing in what it says."""
    documents = read(write(tmp_path / name, jsonl(ROWS)))
    assert [document.text for document in documents] == [row["text"] for row in ROWS]
    assert [document.doc_id for document in documents] == [f"{name}:1", f"{name}:2"]
    assert {document.domain for document in documents} == {"a"}


def test_zstd_frames_and_gzip_members_are_joined(tmp_path):
    """Files made by appending compressed parts are read to their end."""
    first, second = (jsonl([row]) for row in ROWS)
    zst = tmp_path / "a.jsonl.zst"
    zst.write_bytes(zstandard.compress(first) + zstandard.compress(second))
    gz = tmp_path / "b.jsonl.gz"
    gz.write_bytes(gzip.compress(first) + gzip.compress(second))
    assert [document.text for document in read(zst)] == [document.text for document in read(gz)]
    assert len(read(zst)) == 2


def test_parquet_reads_nested_columns(tmp_path):
    """A dot descends into a struct, as SlimPajama's domains need it."""
    rows = [
        {"text": "one", "meta": {"set": "ArXiv"}, "id": 7},
        {"text": "two", "meta": {"set": "C4"}, "id": 8},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    documents = read(tmp_path / "a.parquet", domain="meta.set", id="id", label="id")
    assert [(d.doc_id, d.domain, d.label) for d in documents] == [("7", "ArXiv", "7"), ("8", "C4", "8")]


NAMING = {b"revlm": json.dumps({"columns": {"id": "key", "domain": "source"}}).encode()}


def naming_table(rows, metadata=NAMING):
    return pa.Table.from_pylist(rows).replace_schema_metadata(metadata)


def test_parquet_that_names_its_columns_needs_no_options(tmp_path):
    """Ids and domains come from the columns that the file names; options still decide where given."""
    rows = [
        {"text": "one", "key": "k1", "source": "web", "other": "o"},
        {"text": "two", "key": "k2", "source": "code", "other": "o"},
    ]
    parquet.write_table(naming_table(rows), tmp_path / "a.parquet")
    parquet.write_table(pa.Table.from_pylist([{"text": "three"}]), tmp_path / "b.parquet")
    documents = read(tmp_path)
    assert [(d.doc_id, d.domain) for d in documents] == [("k1", "web"), ("k2", "code"), ("b.parquet:1", "b")]
    assert {d.domain for d in read(tmp_path / "a.parquet", domain="other")} == {"o"}
    assert [d.doc_id for d in read(tmp_path / "a.parquet", id="text")] == ["one", "two"]


def test_ids_that_a_file_names_are_checked_too(tmp_path):
    """An id that occurs twice is named with both places."""
    rows = [{"text": text, "key": "k1", "source": "web"} for text in ("one", "two")]
    parquet.write_table(naming_table(rows), tmp_path / "a.parquet")
    message = refusal(tmp_path / "a.parquet")
    assert f"id 'k1' (key) occurs twice, at {tmp_path / 'a.parquet'}:1 and at" in message


@pytest.mark.parametrize(
    "metadata",
    [None, {b"revlm": b"{"}, {b"revlm": b"[]"}, {b"revlm": b'{"columns": 3}'}, {b"revlm": b"\xff"}, NAMING],
    ids=str,
)
def test_what_names_no_column_that_is_there_changes_nothing(tmp_path, metadata):
    """Metadata of another meaning, or of columns that a copy has dropped."""
    parquet.write_table(naming_table([{"text": "one"}], metadata), tmp_path / "a.parquet")
    assert [(d.doc_id, d.domain) for d in read(tmp_path / "a.parquet")] == [("a.parquet:1", "a")]


def test_jsonl_reads_nested_columns(tmp_path):
    """The same dots descend into JSON objects, for the text as well."""
    path = write(tmp_path / "a.jsonl", jsonl([{"body": {"raw": "deep"}, "meta": {"id": "x"}}]))
    (document,) = read(path, text="body.raw", id="meta.id")
    assert (document.doc_id, document.text) == ("x", "deep")


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".txt.zst", ".md"])
def test_a_text_file_is_one_document(tmp_path, suffix):
    """Its id is the path below the folder, its domain the folder it lies in."""
    write(tmp_path / "poems" / f"a{suffix}", b"Zeile eins\nZeile zwei\n")
    (document,) = read(tmp_path)
    assert document == (f"poems/a{suffix}", "Zeile eins\nZeile zwei\n", "poems", "en", None)


def test_a_glob_descends_and_sorts(tmp_path):
    """`**` finds files at any depth; their order is that of their names."""
    for name in ("b/2.txt", "a/c/1.txt", "0.txt"):
        write(tmp_path / name, name.encode())
    assert [document.text for document in read(tmp_path / "**" / "*.txt")] == [
        "0.txt",
        "a/c/1.txt",
        "b/2.txt",
    ]
    assert [document.doc_id for document in read(tmp_path / "a" / "**" / "*.txt")] == ["c/1.txt"]


def test_a_folder_means_its_readable_files(tmp_path):
    """Files of other kinds in a folder are passed over; a glob that names one is refused."""
    write(tmp_path / "a.txt", b"text")
    write(tmp_path / "a.bin", b"\x00\x01")
    assert len(read(tmp_path)) == 1
    assert "set data.format" in refusal(tmp_path / "*")


def test_shards_share_a_domain(tmp_path):
    """Without a domain column the shards of one table are one domain."""
    for shard in range(2):
        write(tmp_path / f"arxiv-{shard:05}-of-00002.jsonl.zst", jsonl([ROWS[shard]]))
    documents = read(tmp_path)
    assert {document.domain for document in documents} == {"arxiv"}
    assert len({document.doc_id for document in documents}) == 2


def test_forced_format_overrides_the_ending(tmp_path):
    """data.format=jsonl reads a .txt file as JSONL."""
    assert len(read(write(tmp_path / "a.txt", jsonl(ROWS)), format=TextFormat.jsonl)) == 2


def test_unicode_line_separators_end_no_line(tmp_path):
    """Only a newline ends a JSONL row; a BOM at the start is no part of it."""
    path = write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + jsonl([{"text": "one\u2028still one\x0c\x85"}]))
    assert [document.text for document in read(path)] == ["one\u2028still one\x0c\x85"]


def test_memory_stays_flat(tmp_path):
    """Reading 40 MB of JSONL and of Parquet never holds a quarter of it."""
    rows = [{"text": f"{number} " + "word " * 2000} for number in range(4000)]
    write(tmp_path / "a.jsonl", jsonl(rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet", row_group_size=200)
    del rows
    tracemalloc.start()
    assert sum(1 for _ in read_files(config(tmp_path))) == 8000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_no_match_names_the_glob(tmp_path):
    """A glob without a file is refused by its own text."""
    assert f"data.path={tmp_path}/*.jsonl matches no readable file" in refusal(tmp_path / "*.jsonl")


def test_no_path_names_the_option():
    """data=files without a path says which option to set."""
    with pytest.raises(UserError, match=r"set data\.path"):
        read_files(DataConfig(source=Source.files))


def test_an_unreadable_file_is_named(tmp_path):
    """A file that cannot be opened, here a link to nowhere, is refused by name."""
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone.jsonl")
    assert f"{tmp_path}/a.jsonl: cannot be read (No such file or directory)" in refusal(tmp_path / "*.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.txt"])
def test_invalid_utf8_is_placed(tmp_path, name):
    """The offset counts bytes of the decompressed stream, beyond the first block too."""
    good = jsonl([{"text": "é" * 700_000}])
    path = write(tmp_path / name, good + b'{"text": "\xff"}\n')
    assert f"{path}: invalid UTF-8 at byte {len(good) + 10} " in refusal(path)


def test_utf8_that_ends_in_mid_character_is_invalid(tmp_path):
    """A file cut inside a character is refused, not shortened."""
    path = write(tmp_path / "a.txt", "caf\u00e9".encode()[:-1])
    assert "invalid UTF-8 at byte 3 " in refusal(path)


def test_nul_is_placed(tmp_path):
    """A NUL is named by file, line and offset, in tables as in text files."""
    table = write(tmp_path / "a.jsonl", jsonl([ROWS[0], {"text": "ab\0c"}]))
    text = write(tmp_path / "a.txt", b"abc\0")
    assert f"{table}:2: NUL character at offset 2" in refusal(table)
    assert f"{text}: NUL character at offset 3" in refusal(text)


def test_lone_surrogate_is_placed(tmp_path):
    """JSON can spell half a character, which no UTF-8 file could hold."""
    path = write(tmp_path / "a.jsonl", b'{"text": "ab\\ud800"}\n')
    assert f"{path}:1: lone surrogate U+D800 at offset 2" in refusal(path)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jsonl.gz", "gzip"), ("a.jsonl.zst", "zstd"), ("a.txt.zst", "zstd")]
)
def test_truncated_compression_is_refused(tmp_path, name, kind):
    """Half a compressed file is never taken for a whole one."""
    path = write(tmp_path / name, jsonl([{"text": str(n) * 50} for n in range(2000)]))
    path.write_bytes(path.read_bytes()[:-9])
    message = refusal(path)
    assert str(path) in message
    assert f"truncated {kind}" in message


@pytest.mark.parametrize(("name", "kind"), [("a.jsonl.gz", "gzip"), ("a.jsonl.zst", "zstd")])
def test_what_is_not_compressed_is_refused(tmp_path, name, kind):
    """An ending that lies is named as damage."""
    path = tmp_path / name
    path.write_bytes(jsonl(ROWS))
    assert f"{path}: damaged" in refusal(path)
    assert kind in refusal(path)


def test_truncated_parquet_is_refused(tmp_path):
    """A Parquet file without its end has no index and is refused."""
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.Table.from_pylist(ROWS), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert f"{path}: damaged or truncated Parquet" in refusal(path)


def test_invalid_utf8_in_parquet_is_refused(tmp_path):
    """A string column that is no UTF-8 is refused by file."""
    column = pa.array([b"good", b"\xff"], pa.binary()).view(pa.string())
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": column}), path)
    assert f"{path}: invalid UTF-8" in refusal(path)


@pytest.mark.parametrize("line", [b"{bad}", b'{"text": "cut', b"[1, 2]", b'"text"', b"[" * 100_000])
def test_invalid_json_is_placed(tmp_path, line):
    """A line that is no JSON object is named by file and line."""
    path = write(tmp_path / "a.jsonl", jsonl(ROWS) + b"\n" + line + b"\n")
    assert f"{path}:4: " in refusal(path)


def test_missing_column_names_what_there_is(tmp_path):
    """The columns that exist, and the nearest one, are in the message."""
    table = write(tmp_path / "a.jsonl", jsonl([{"texts": "a", "url": "b"}]))
    parquet.write_table(pa.Table.from_pylist([{"texts": "a", "url": "b"}]), tmp_path / "b.parquet")
    for path in (table, tmp_path / "b.parquet"):
        message = refusal(path)
        assert (
            f"{path}:1: no field 'text' (data.text): did you mean 'texts'? There are: texts, url" in message
        )


def test_missing_nested_field_names_its_siblings(tmp_path):
    """Inside a nested field the names on offer are written with their dots."""
    path = write(tmp_path / "a.jsonl", jsonl([{"text": "a", "meta": {"set_name": "C4"}}]))
    assert "did you mean 'meta.set_name'" in refusal(path, domain="meta.setname")


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), (3, "int"), (["a"], "list"), ({"a": 1}, "dict")])
def test_text_that_is_no_string_is_placed(tmp_path, value, kind):
    """Numbers, lists and nulls are refused with line and type, never turned into text."""
    path = write(tmp_path / "a.jsonl", jsonl([ROWS[0], {"text": value}]))
    assert f"{path}:2: field 'text' is" in refusal(path)
    assert kind in refusal(path)


def test_duplicate_ids_name_both_places(tmp_path):
    """Two rows with one id are refused with the place of either, across files."""
    first = write(tmp_path / "a.jsonl", jsonl([{"text": "x", "id": "k"}, {"text": "y", "id": "dup"}]))
    second = write(tmp_path / "b.jsonl", jsonl([{"text": "z", "id": "dup"}]))
    assert f"'dup' (id) occurs twice, at {first}:2 and at {second}:1" in refusal(tmp_path, id="id")


def test_an_id_must_be_a_name(tmp_path):
    """Null and empty ids are refused rather than numbered."""
    assert "'id' (data.id) is null" in refusal(
        write(tmp_path / "a.jsonl", jsonl([{"text": "x", "id": None}])), id="id"
    )


# What users of other tools ran into.


def test_a_folders_tables_win_over_what_stands_beside_them(tmp_path):
    """Card, licence and settings beside tables are no documents; they are named and counted."""
    write(tmp_path / "train.jsonl", jsonl(ROWS))
    for name in ("README.md", "LICENSE.txt", "dataset_info.json", "weights.bin"):
        write(tmp_path / name, b"{}")
    reading = Reading()
    assert len(list(read_files(config(tmp_path), reading))) == 2
    assert reading.passed_over == {
        "of other kinds": ["weights.bin"],
        "beside tables (.md .text .txt)": ["LICENSE.txt", "README.md"],
        "beside tables (.json)": ["dataset_info.json"],
    }
    assert (reading.files, reading.rows) == (1, 2)
    assert any("README.md" in line for line in told(reading.facts()))


def test_every_table_of_a_folder_is_read_whatever_its_ending(tmp_path):
    """Compressed, upper-case and comma-separated tables are read like the others."""
    write(tmp_path / "a.jsonl", jsonl(ROWS))
    write(tmp_path / "b.jsonl.xz", jsonl([{"text": "three"}]))
    write(tmp_path / "c.JSONL", jsonl([{"text": "four"}]))
    write(tmp_path / "d.csv", b'text,n\n"five, and ""more""\nstill five",1\n')
    write(tmp_path / "e.tsv.gz", b"n\ttext\n1\tsix\n")
    texts = [document.text for document in read(tmp_path)]
    assert texts == [row["text"] for row in ROWS] + ["three", "four", 'five, and "more"\nstill five', "six"]


def test_a_name_that_exists_is_no_pattern(tmp_path):
    """Brackets of a folder that is there are part of its name, not a choice of letters."""
    write(tmp_path / "[web]" / "a.jsonl", jsonl([{"text": "right"}]))
    write(tmp_path / "w" / "a.jsonl", jsonl([{"text": "wrong"}]))
    (document,) = read(tmp_path / "[web]" / "*.jsonl")
    assert document == ("a.jsonl:1", "right", "a", "en", None)
    assert [d.text for d in read(tmp_path / "[web]")] == ["right"]
    assert [d.text for d in read(tmp_path / "[w]" / "*.jsonl")] == ["wrong"]


@pytest.mark.parametrize("pattern", ["", "**/*.jsonl", "*/**/*.jsonl", "**"])
def test_links_that_go_round_in_circles_end(tmp_path, pattern):
    """Each real file is read once, and reading ends."""
    write(tmp_path / "in" / "a.jsonl", jsonl(ROWS))
    for link in ("loop", "round"):
        (tmp_path / "in" / link).symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "z.jsonl").symlink_to(tmp_path / "in" / "a.jsonl")
    assert len(read(tmp_path / pattern)) == 2


def test_zstd_with_a_long_window_is_read(tmp_path):
    """`zstd --long=28` asks for more memory than the library gives by default; more than 2 GB is told as such."""
    data = jsonl([{"text": "far " * 300_000}])
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=28, enable_ldm=True)
    path = tmp_path / "a.jsonl.zst"
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    # Without the size in the frame's head the window counts.
    path.write_bytes(compressor.compress(data) + compressor.flush())
    (document,) = read(path)
    assert document.text == "far " * 300_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": null}', "text is null"),
        (b'{"text": 3}', "text is of type int"),
        (b'{"text": "a\\u0000b"}', "NUL character"),
        (b'{"text": "\\ud83d"}', "lone surrogate"),
        (b'{"other": "a"}', "no field text"),
        (b'{"text": "cut', "invalid JSON"),
        (b"[1]", "no JSON object"),
    ],
)
def test_a_row_without_a_usable_text_can_be_skipped(tmp_path, line, reason):
    """One bad row among many is named and refused, or left out and counted; the others are read."""
    path = write(tmp_path / "a.jsonl", jsonl(ROWS) + line + b"\n" + jsonl([{"text": "last"}]))
    said = refusal(path)
    assert f"{path}:3: " in said
    assert said.endswith("or leave such rows out with data.unreadable=skip.")
    reading = Reading()
    documents = list(read_files(config(path, unreadable=Unreadable.skip), reading))
    assert [document.doc_id for document in documents] == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:4"]
    assert (reading.rows, reading.rows_left_out) == (4, {reason: 1})
    assert f"{path}:3: " in "".join(told(reading.facts()))
    assert "data.unreadable" not in "".join(told(reading.facts()))


def test_a_text_file_without_a_usable_text_can_be_skipped(tmp_path):
    """A file that is one document is left out as a row is."""
    write(tmp_path / "a.txt", b"good")
    path = write(tmp_path / "b.txt", b"b\0d")
    assert f"{path}: NUL character" in refusal(tmp_path)
    reading = Reading()
    documents = list(read_files(config(tmp_path, unreadable=Unreadable.skip), reading))
    assert [document.doc_id for document in documents] == ["a.txt"]
    assert reading.rows_left_out == {"NUL character": 1}


def test_a_column_that_no_row_has_is_never_skipped(tmp_path):
    """A misspelt column would leave out everything: it is refused, whatever is to be skipped."""
    path = write(tmp_path / "a.jsonl", jsonl(ROWS))
    assert "no field 'body' (data.text)" in refusal(path, text="body", unreadable=Unreadable.skip)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_ids_of_a_table_are_taken_where_it_has_them(tmp_path, name):
    """doc_id or id names the documents without being asked for, and the reading says so; '' numbers them."""
    rows = [{"id": "x1", "text": "one"}, {"id": "x2", "text": "two"}]
    path = tmp_path / name
    if name.endswith("jsonl"):
        write(path, jsonl(rows))
    elif name.endswith("csv"):
        write(path, b"id,text\nx1,one\nx2,two\n")
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)
    reading = Reading()
    assert [document.doc_id for document in read_files(config(path), reading)] == ["x1", "x2"]
    assert told(reading.facts()) == ["ids come from the column id (data.id='' numbers the rows instead)."]
    assert [document.doc_id for document in read(path, id="")] == [f"{name}:1", f"{name}:2"]


def test_a_text_of_several_columns_is_joined_by_a_blank_line(tmp_path):
    """Title and body, nested or not, make one document."""
    path = write(tmp_path / "a.jsonl", jsonl([{"title": "T", "page": {"body": "B"}}]))
    (document,) = read(path, text=["title", "page.body"])
    assert document.text == "T\n\nB"


def test_a_label_is_text_too(tmp_path):
    """Half a character in a label is named before anything is written."""
    path = write(tmp_path / "a.jsonl", b'{"text": "a", "label": "\\ud83d"}\n')
    assert f"{path}:1, field 'label': lone surrogate" in refusal(path, label="label")


def test_a_json_file_may_hold_one_list(tmp_path):
    """A .json file with a list of objects is a table of them."""
    path = write(tmp_path / "a.json", json.dumps(ROWS, indent=1).encode())
    assert [document.doc_id for document in read(path)] == ["a.json:1", "a.json:2"]


def test_what_save_to_disk_wrote_is_read(tmp_path):
    """The folder of a saved dataset is a table, its settings bystanders."""
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    assert [document.text for document in read(tmp_path / "saved")] == [row["text"] for row in ROWS]


def test_caches_beside_a_saved_dataset_are_no_documents(tmp_path):
    """`Dataset.map` writes its results into the folder that the dataset was loaded from."""
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    (shard,) = (tmp_path / "saved").glob("*.arrow")
    shutil.copy(shard, shard.with_name("cache-112cf1af6311d07e.arrow"))
    reading = Reading()
    assert len(list(read_files(config(tmp_path / "saved"), reading))) == len(ROWS)
    assert reading.passed_over["beside a saved dataset (caches)"] == ["cache-112cf1af6311d07e.arrow"]
    assert len(read(tmp_path / "saved" / "cache-*.arrow")) == len(ROWS)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"text,n\nonly\n", "a.csv:1: fewer fields"), (b"text\na,b\n", "a.csv:1: more fields")],
)
def test_a_row_of_another_width_is_named(tmp_path, data, message):
    """A comma in a text that is not quoted shifts columns: the row is refused."""
    assert message in refusal(write(tmp_path / "a.csv", data))
