"""What S goes along with: planted effects are found, nulls are not, and confounded ones are unmasked."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from revlm.errors import UserError
from revlm.scores import confounds
from revlm.scores.confounds import confound_panel, read_confounds, write_confounds
from revlm.scores.table import SCHEMA, SCORES, write_table
from revlm.statistics.correlations import correlation
from tests.scores.score_folders import documents, plain_s, write_scores


@pytest.fixture(scope="module")
def columns(corpus):
    """Real texts, often enough for narrow intervals."""
    return documents(corpus, times=20)


def panel(folder, columns, s, **options):
    rows = confound_panel(read_confounds(write_scores(folder / SCORES, columns, s, **options)))
    return {row.name: row for row in rows}


def noise(columns, seed=0):
    return np.random.default_rng(seed).normal(size=len(columns["num_tokens"]))


def standard(values):
    return (values - values.mean()) / values.std()


def test_a_planted_effect_is_found(columns, tmp_path):
    """S that rises with length correlates with length, plainly, given the others and within domains."""
    s = 0.05 * standard(np.log(columns["num_tokens"])) + 0.05 * noise(columns)
    row = panel(tmp_path, columns, s)["log_num_tokens"]
    assert row.plain.low > 0.5
    assert row.within_domain.low > 0.5
    assert row.partial.low > 0.1


def test_a_null_is_not_found(columns, tmp_path):
    """S of chance alone correlates with next to nothing, and no domain explains it."""
    rows = panel(tmp_path, columns, 0.05 * noise(columns))
    del rows["nll_forward"]
    found = [row.plain for row in rows.values()] + [row.partial for row in rows.values()]
    assert all(abs(one.value) < 0.06 for one in found if not np.isnan(one.value))
    assert rows["domain"].plain.low == 0


def test_a_confounded_number_is_unmasked(columns, tmp_path):
    """S that follows the compression ratio alone goes along with length, but not given the ratio."""
    ratio = standard(columns["compression_ratio"])
    row = panel(tmp_path, columns, 0.1 * ratio + 0.02 * noise(columns))["log_num_tokens"]
    assert abs(row.plain.value) > 0.4
    assert abs(row.partial.value) < 0.1


def test_an_effect_of_domains_is_theirs(columns, tmp_path):
    """S that depends on the domain alone: domains explain most of it, and length nothing within them."""
    rows = panel(tmp_path, columns, plain_s(columns, by_domain=0.3))
    assert rows["domain"].partial.low > 0.4
    assert abs(rows["log_num_tokens"].plain.value) > 0.2
    assert abs(rows["log_num_tokens"].within_domain.value) < 0.06


def test_forward_loss_is_part_of_s(columns, tmp_path):
    """S goes along with the forward loss by arithmetic, and not with the mean of both losses."""
    rows = panel(tmp_path, columns, 0.4 * noise(columns))
    assert rows["nll_forward"].plain.low > 0.3
    assert abs(rows["nll_mean"].plain.value) < 0.06


def test_a_language_beyond_its_domain_is_told_apart(corpus, tmp_path):
    """Languages that S depends on explain it; one that is settled by the domain explains nothing more."""
    columns = documents(corpus, times=20, languages=["en", "zh"])
    s = 0.1 * (np.asarray(columns["language"]) == "zh") + 0.05 * noise(columns)
    assert panel(tmp_path, columns, s)["language"].partial.low > 0.2
    settled = columns | {"language": [f"of {name}" for name in columns["domain"]]}
    assert np.isnan(panel(tmp_path, settled, s)["language"].partial.value)


def test_every_number_is_written(columns, tmp_path):
    """The CSV holds each number unrounded with its interval and n, and the page has n in every cell."""
    s = plain_s(columns)
    write_scores(tmp_path / SCORES, columns, s)
    rows = write_confounds(tmp_path)
    with (tmp_path / "confounds.csv").open() as file:
        written = {(row["confound"], row["kind"]): row for row in csv.DictReader(file)}
    plain = correlation(np.log(columns["num_tokens"]), s)
    assert [float(written["log_num_tokens", "plain"][key]) for key in ("r", "low", "high", "n")] == [
        plain.value, plain.low, plain.high, len(s),
    ]  # fmt: skip
    assert len(written) == sum(len(row.kinds) for row in rows)
    table = [line for line in (tmp_path / "confounds.md").read_text().splitlines() if line.startswith("|")][
        2:
    ]
    cells = [cell.strip() for line in table for cell in line.split("|")[2:-1]]
    assert all("n=" in cell for cell in cells if cell)


def test_writing_again_changes_no_byte(columns, tmp_path):
    """Equal tables give equal files."""
    write_scores(tmp_path / SCORES, columns, plain_s(columns))
    write_confounds(tmp_path)
    first = [(tmp_path / name).read_bytes() for name in ("confounds.csv", "confounds.md")]
    write_confounds(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("confounds.csv", "confounds.md")] == first


def test_of_a_huge_table_a_subset_is_read_and_said(columns, tmp_path, monkeypatch):
    """Above the limit a hash of doc_id chooses, whatever the order of rows, and the page says how many."""
    s = plain_s(columns)
    path = write_scores(tmp_path / SCORES, columns, s)
    part = read_confounds(path, limit=400)
    table = parquet.read_table(path)
    turned = table.take(pa.array(np.arange(len(table))[::-1]))
    write_table(tmp_path / "turned.parquet", turned.to_batches(), SCHEMA)
    again = read_confounds(tmp_path / "turned.parquet", limit=400)
    assert 300 < len(part) < 500
    assert np.array_equal(part.numbers["s"], again.numbers["s"][::-1])
    monkeypatch.setattr(confounds, "MAX_ROWS", 400)
    write_confounds(tmp_path, limit=400)
    said = (tmp_path / "confounds.md").read_text()
    assert f"{len(part):,} of {len(s):,} documents" in said
    assert "hash of doc_id" in said


def test_a_subset_tells_what_the_whole_tells(columns, tmp_path):
    """The interval over a third of the documents holds the correlation over all of them."""
    s = 0.03 * standard(np.log(columns["num_tokens"])) + 0.05 * noise(columns)
    path = write_scores(tmp_path / SCORES, columns, s)
    whole, part = (confound_panel(read_confounds(path, limit=limit))[0].plain for limit in (10**6, 600))
    assert part.n < whole.n / 2
    assert part.low < whole.value < part.high


def test_documents_without_a_value_are_left_out_and_counted(columns, tmp_path):
    """A score that is no number leaves its document out of every cell."""
    s = plain_s(columns)
    s[:7] = np.nan
    rows = panel(tmp_path, columns, s)
    assert {row.plain.n for row in rows.values()} == {len(s) - 7}


def test_a_table_without_a_column_is_named(columns, tmp_path):
    """A table of another form is refused by the column that it lacks."""
    table = parquet.read_table(write_scores(tmp_path / SCORES, columns, plain_s(columns)))
    parquet.write_table(table.drop_columns(["compression_ratio"]), tmp_path / SCORES)
    with pytest.raises(UserError, match="no column 'compression_ratio'"):
        write_confounds(tmp_path)


def test_a_file_that_is_no_table_is_named(tmp_path):
    """What is no Parquet file, or is not there, is refused in one line."""
    (tmp_path / SCORES).write_text("s\n1\n")
    with pytest.raises(UserError, match=r"scores\.parquet: not a whole Parquet file"):
        write_confounds(tmp_path)
    with pytest.raises(UserError, match=r"scores\.parquet: not a whole Parquet file"):
        write_confounds(tmp_path / "nowhere")


def test_a_table_that_is_damaged_in_its_middle_is_named(columns, tmp_path):
    """Its footer is whole, so only reading its rows finds the damage."""
    path = write_scores(tmp_path / SCORES, columns, plain_s(columns))
    data = bytearray(path.read_bytes())
    data[100 : len(data) // 2] = bytes(len(data) // 2 - 100)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"scores\.parquet: not a whole Parquet file"):
        write_confounds(tmp_path)
