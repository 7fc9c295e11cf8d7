"""Several models' tables: the combined one, and how far they agree."""

import csv
import json
import os

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from revlm.errors import UserError
from revlm.scores.agreement import gather, paired_scores, pairwise, write_agreement
from revlm.scores.columns import Moments
from revlm.scores.combine import COMBINED_SCHEMA, combine
from revlm.scores.table import SCHEMA, SCORES, metadata, write_table
from revlm.statistics.correlations import correlation
from tests.scores.score_folders import documents, plain_s, write_score_run, write_scores


@pytest.fixture(scope="module")
def columns(corpus):
    """Real texts, several times over."""
    return documents(corpus, times=6)


@pytest.fixture
def tables(columns, tmp_path):
    """Three models of two sizes that share part of S: the two of one size more of it."""
    rng = np.random.default_rng(0)
    shared, count = plain_s(columns), len(columns["doc_id"])
    own = {"small_0": 0.03, "small_1": 0.03, "large": 0.1}
    return {
        name: write_scores(
            tmp_path / f"{name}.parquet", columns, shared + rng.normal(0, spread, count), seed=seed,
            about={"model": name, "parameters": 4 if name == "large" else 1},
        )
        for seed, (name, spread) in enumerate(own.items())
    }  # fmt: skip


def agreement(tables, sizes, **options):
    return pairwise(paired_scores(tables, **options), sizes)


SIZES = {"small_0": 1, "small_1": 1, "large": 4}


def read(path):
    return parquet.read_table(path)


def s_of(path):
    return read(path)["s"].to_numpy()


def combined(tables, out):
    counts = combine(tables, out, {"who": "test"})
    return counts, read(out)


def without(path, kept):
    """The same table with some rows only."""
    table = read(path).filter(pa.array(kept))
    write_table(path, table.to_batches(), SCHEMA.with_metadata(table.schema.metadata))


def test_the_combined_table_holds_means_and_spreads(tables, tmp_path):
    """Losses and s are means over models, s_std is their sample standard deviation."""
    _, table = combined(tables, tmp_path / "all.parquet")
    s = np.stack([s_of(path) for path in tables.values()])
    assert np.allclose(table["s"], s.mean(0), atol=1e-12)
    assert np.allclose(table["s_std"], s.std(0, ddof=1), atol=1e-12)
    assert np.allclose(table["s"], np.subtract(table["nll_forward"], table["nll_reverse"]), atol=1e-12)
    assert table["num_models"].unique().to_pylist() == [3]
    assert table.schema.remove_metadata() == COMBINED_SCHEMA


def test_s_z_is_the_mean_of_zscores_within_domains(tables, columns, tmp_path):
    """Each model's s is centred and scaled inside each domain before the models are averaged."""
    _, table = combined(tables, tmp_path / "all.parquet")
    domain, z = np.asarray(columns["domain"]), []
    for path in tables.values():
        s = s_of(path)
        parts = {name: s[domain == name] for name in set(domain)}
        z.append([(v - parts[n].mean()) / parts[n].std(ddof=1) for v, n in zip(s, domain, strict=True)])
    assert np.allclose(table["s_z"], np.mean(z, axis=0), atol=1e-9)
    assert np.allclose(table["s_z_std"], np.std(z, axis=0, ddof=1), atol=1e-9)


def test_zscores_do_not_mind_a_models_units(tables, tmp_path):
    """A model whose S is ten times another's and shifted has the same part in s_z."""
    _, before = combined(tables, tmp_path / "all.parquet")
    table = read(tables["large"])
    scaled = pa.array(table["s"].to_numpy() * 10 + 3)
    table = table.set_column(table.schema.get_field_index("s"), "s", scaled)
    write_table(tables["large"], table.to_batches(), table.schema)
    _, after = combined(tables, tmp_path / "all.parquet")
    assert np.allclose(before["s_z"], after["s_z"], atol=1e-9)
    assert not np.allclose(before["s"], after["s"])


def test_one_model_has_no_spread(tables, tmp_path):
    """A table of one model is that model's, with nulls where a spread would stand."""
    one = {"small_0": tables["small_0"]}
    _, table = combined(one, tmp_path / "all.parquet")
    assert table.select(SCHEMA.names).equals(
        read(tables["small_0"]).replace_schema_metadata(table.schema.metadata)
    )
    assert table["s_std"].null_count == table["s_z_std"].null_count == len(table)
    assert table["s_z"].null_count == 0


def test_a_domain_of_one_document_has_no_zscore(corpus, tmp_path):
    """Where a domain has one document, or one value of s, s_z is null rather than a number."""
    columns = documents(corpus)
    columns["domain"] = ["alone", "equal", "equal", *["rest"] * (len(columns["domain"]) - 3)]
    s = plain_s(columns)
    s[1:3] = 0.1
    path = write_scores(tmp_path / "a.parquet", columns, s)
    _, table = combined({"a": path, "b": path}, tmp_path / "all.parquet")
    assert [row for row, value in enumerate(table["s_z"].to_pylist()) if value is None] == [0, 1, 2]


def test_crossings_are_medians_and_never_is_late(columns, tmp_path):
    """The combined crossing is the median over models; never counts as later than all."""
    paths = {}
    for name, crossing in (("a", [3, None, None]), ("b", [9, 5, None]), ("c", [5, None, 1])):
        table = read(write_scores(tmp_path / f"{name}.parquet", columns, plain_s(columns)))
        index = table.schema.get_field_index("intersection")
        filled = pa.array(crossing + [0] * (len(table) - 3), pa.int64())
        write_table(
            tmp_path / f"{name}.parquet", table.set_column(index, "intersection", filled).to_batches(), SCHEMA
        )
        paths[name] = tmp_path / f"{name}.parquet"
    _, table = combined(paths, tmp_path / "all.parquet")
    assert table["intersection"].to_pylist()[:3] == [5, None, None]


def test_documents_that_a_model_lacks_are_dropped_and_counted(tables, columns, tmp_path):
    """Only documents in all tables stay, in their order, and each model's loss is counted."""
    count = len(columns["doc_id"])
    kept_0, kept_1 = np.arange(count) % 5 != 0, np.arange(count) % 7 != 3
    without(tables["small_0"], kept_0)
    without(tables["large"], kept_1)
    counts, table = combined(tables, tmp_path / "all.parquet")
    both = kept_0 & kept_1
    assert table["doc_id"].to_pylist() == [
        name for name, kept in zip(columns["doc_id"], both, strict=True) if kept
    ]
    assert counts == {
        "num_documents": int(both.sum()),
        "dropped": {
            "small_0": int((kept_0 & ~kept_1).sum()),
            "small_1": int((~both).sum()),
            "large": int((kept_1 & ~kept_0).sum()),
        },
    }


def test_batches_do_not_matter(tables, columns, tmp_path, monkeypatch):
    """Tables whose row groups lie elsewhere combine to the same rows."""
    _, expected = combined(tables, tmp_path / "all.parquet")
    for name, size in zip(tables, (7, 100, 1000), strict=True):
        parquet.write_table(read(tables[name]), tables[name], row_group_size=size)
    _, found = combined(tables, tmp_path / "again.parquet")
    assert found.select(SCHEMA.names).equals(expected.select(SCHEMA.names))
    assert np.allclose(found["s_z"], expected["s_z"], atol=1e-12)


def test_other_orders_are_refused(tables, tmp_path):
    """Tables that hold the same documents in another order are no pair, and nothing is written."""
    table = read(tables["large"])
    parquet.write_table(table.take(pa.array(np.arange(len(table))[::-1])), tables["large"])
    with pytest.raises(UserError, match="different orders"):
        combined(tables, tmp_path / "all.parquet")
    assert not (tmp_path / "all.parquet").exists()


def test_tables_of_other_corpora_are_refused(tables, columns, tmp_path):
    """Tables without a common document are refused by name."""
    other = columns | {"doc_id": [f"other {name}" for name in columns["doc_id"]]}
    write_scores(tables["large"], other, plain_s(columns))
    with pytest.raises(UserError, match=r"large\.parquet: no document is in all of these tables"):
        combined(tables, tmp_path / "all.parquet")


def test_pairs_are_told_by_size(tables):
    """Every pair of models stands once with the correlation of its s, equal sizes as test and retest."""
    rows = [row for row in agreement(tables, SIZES) if (row.column, row.statistic) == ("s", "spearman")]
    pairs = {(row.model_a, row.model_b): row for row in rows if row.model_a != "mean"}
    assert {pair: row.kind for pair, row in pairs.items()} == {
        ("small_0", "small_1"): "test-retest",
        ("small_0", "large"): "cross-size",
        ("small_1", "large"): "cross-size",
    }
    expected = correlation(s_of(tables["small_0"]), s_of(tables["large"]))
    found = pairs["small_0", "large"].found
    assert found == expected
    assert pairs["small_0", "small_1"].found.low > found.high


def test_independent_models_do_not_agree(columns, tmp_path):
    """Models whose S is chance agree on nothing, to three standard errors."""
    rng = np.random.default_rng(1)
    paths = {
        name: write_scores(tmp_path / f"{name}.parquet", columns, rng.normal(size=len(columns["doc_id"])))
        for name in "ab"
    }
    pairs = [row for row in agreement(paths, {"a": 1, "b": 1}) if row.model_b]
    assert all(abs(row.found.value) < 3 / np.sqrt(row.found.n) for row in pairs)


def test_agreement_on_domains_alone_vanishes_within_them(columns, tmp_path):
    """Models that share nothing but the level of each domain agree on s, and not on its z-scores."""
    paths = {
        name: write_scores(tmp_path / f"{name}.parquet", columns, plain_s(columns, seed, by_domain=0.3))
        for seed, name in enumerate("ab")
    }
    rows = agreement(paths, {"a": 1, "b": 1})
    found = {(row.column, row.statistic): row.found for row in rows if row.model_b}
    assert found["s", "pearson"].low > 0.8
    assert found["s_z", "pearson"].low < 0 < found["s_z", "pearson"].high


def test_means_are_over_the_pairs_of_a_kind(tables):
    """A mean stands for each kind, with its number of pairs and their extremes, and no interval."""
    rows = [row for row in agreement(tables, SIZES) if (row.column, row.statistic) == ("s_z", "pearson")]
    cross = [row.found.value for row in rows if row.kind == "cross-size" and row.model_b]
    (mean,) = [row for row in rows if row.kind == "cross-size" and row.model_a == "mean"]
    assert (mean.found.value, mean.pairs, mean.lowest, mean.highest) == (
        pytest.approx(np.mean(cross)), 2, min(cross), max(cross),
    )  # fmt: skip
    assert mean.found.low is mean.found.high is None


def test_of_many_documents_the_same_subset_is_read_from_each_table(tables, columns):
    """Above the limit a hash of doc_id chooses documents, the same ones of every model."""
    whole, part = (agreement(tables, SIZES, limit=limit)[0].found for limit in (10**6, 200))
    assert 100 < part.n < 300
    assert part.low < whole.value < part.high


def test_files_tell_what_was_found(tables, tmp_path):
    """The CSV holds every row unrounded; the page says where raw s does not compare, and only there."""
    page = write_agreement(tables, tmp_path)
    rows = agreement(tables, SIZES)
    with (tmp_path / "agreement.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [float(row["r"]) for row in written] == [row.found.value for row in rows]
    assert list(written[0]) == [
        "model_a", "model_b", "kind", "column", "statistic", "r", "low", "high", "n", "pairs", "lowest", "highest",
    ]  # fmt: skip
    assert (tmp_path / "agreement.md").read_text() == page
    assert "tokenizers differ" not in page
    table = read(tables["large"])
    facts = metadata(table.schema) | {"tokenizer_fingerprint": "another"}
    parquet.write_table(table.replace_schema_metadata({b"revlm": json.dumps(facts)}), tables["large"])
    assert "tokenizers differ: raw s" in write_agreement(tables, tmp_path)


def test_gathered_runs_are_one_run(columns, tmp_path):
    """The summary holds the means of the combined table, is written last and names every model."""
    folders = {
        name: write_score_run(
            tmp_path / "models" / name, columns, plain_s(columns, seed), about={"model": name}
        )
        for seed, name in enumerate("ab")
    }
    gather(folders, tmp_path)
    summary, table = json.loads((tmp_path / "score.json").read_text()), read(tmp_path / SCORES)
    tokens = table["num_tokens"].to_numpy()
    assert summary["models"] == ["a", "b"]
    assert summary["s"] == pytest.approx(np.mean(table["s"]))
    assert summary["nll_forward"] == pytest.approx(np.average(table["nll_forward"], weights=tokens))
    assert sum(domain["num_documents"] for domain in summary["by_domain"].values()) == len(table)
    assert metadata(table.schema)["models"] == ["a", "b"]
    # Again: what stands is told; with a newer run of one model, or other models, all is gathered anew.
    (tmp_path / "agreement.md").write_text("told")
    assert gather(folders, tmp_path) == "told"
    assert gather(dict(reversed(folders.items())), tmp_path) != "told"
    gather(folders, tmp_path)
    (tmp_path / "agreement.md").write_text("told")
    later = (tmp_path / "score.json").stat().st_mtime + 10
    os.utime(folders["a"] / "score.json", (later, later))
    assert gather(folders, tmp_path) != "told"


def test_moments_do_not_mind_batches_or_offsets():
    """Added in parts and far from 0, counts, means and deviations are numpy's; nan is passed over."""
    rng = np.random.default_rng(2)
    groups, values = rng.integers(0, 5, 1000), rng.normal(size=1000) + 1e6
    values[::50] = np.nan
    moments = Moments()
    for part in np.array_split(np.arange(1000), 7):
        moments.add(groups[part], values[part])
    kept = [values[(groups == group) & np.isfinite(values)] for group in range(5)]
    assert moments.count.tolist() == [len(part) for part in kept]
    assert np.allclose(moments.mean, [part.mean() for part in kept], rtol=0, atol=1e-8)
    assert np.allclose(moments.std, [part.std(ddof=1) for part in kept], rtol=1e-8)
