"""Records call each run by the arm and the seed that it says itself."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from revlm.pages.evaluations import write_evaluation
from revlm.studies.records import Records, collect, recorded_arm_and_seed, write_record
from tests.pages.run_folders import write_run
from tests.scores.score_folders import documents, write_score_run

from .planted import losses

RECORDS = ("runs.csv", "validations.csv", "documents.parquet", "contexts.parquet", "answers.parquet")
# Folder of a training run, its name, and its arm where that is not the name and the language.
TRAINED = (
    ("from_scratch_mixed_markov", "from_scratch_mixed", "from_scratch_mixed_markov"),
    ("from_scratch_mixed_en", "from_scratch_mixed", None),
    ("selected_top_s", "selected_top_s", "selected_top_s"),
)
# A model's name, and its arm and seed.
READ = (
    ("from_scratch_mixed_en_1", "from_scratch_mixed_en", 1),
    ("a_1+b_1", "a+b", 1),
    ("SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct.Q4_1", 0),
)


def study(root, corpus, *, says=True) -> Path:
    """Runs of every command as they stand in a study's folder; those of 0.1 do not say arm and seed."""
    for arm, name, own in TRAINED:
        for seed in (0, 1):
            folder = write_run(root / "models" / arm / str(seed), name=name, seed=seed)
            if says:
                options = yaml.safe_load((folder / "config.yaml").read_text())
                options["arm"] = own or f"{name}_{options['data']['language']}"
                (folder / "config.yaml").write_text(yaml.safe_dump(options))
    for model, arm, seed in READ:
        facts = {"model": model} | ({"arm": arm, "seed": seed} if says else {})
        write_score_run(root / "held_out" / "models" / model, documents(corpus), about=facts)
        contexts = root / "contexts" / model
        contexts.mkdir(parents=True)
        pd.DataFrame({"doc_id": ["a"], "context": [8], "nll_forward": [2.0]}).to_parquet(
            contexts / "contexts.parquet"
        )
        (contexts / "contexts.json").write_text(json.dumps(facts))
        asked = {"model": model, "fingerprint": "f", "direction": "forward", "too_long": {}, "seed": 7}
        asked |= {"model_arm": arm, "model_seed": seed} if says else {}
        answers = [{"doc_id": 0, "question": "q", "acc": 1.0}]
        write_evaluation(
            root / "asked" / model, {"results": {}, "n-samples": {"piqa": {}}}, {"piqa": answers}, asked
        )
    return root


def records(runs, out) -> Path:
    collect(runs, out, RECORDS)
    return out


@pytest.fixture(scope="module")
def new(tmp_path_factory, corpus):
    """A study whose runs say their arms."""
    return study(tmp_path_factory.mktemp("new"), corpus)


@pytest.fixture(scope="module")
def collected(new, tmp_path_factory):
    """Its records."""
    return records(new, tmp_path_factory.mktemp("records"))


def test_runs_from_before_arms_give_the_same_records(new, collected, tmp_path, corpus):
    """Folders of 0.1 are told by their places and names; byte for byte the same comes out."""
    old = records(study(tmp_path / "old", corpus, says=False), tmp_path / "out")
    assert {name: (old / name).read_bytes() for name in RECORDS} == {
        name: (collected / name).read_bytes() for name in RECORDS
    }


def test_records_below_their_runs_are_no_runs(collected, tmp_path, corpus):
    """Collected a second time into the same folder beside the runs, all is as it was."""
    runs = study(tmp_path / "runs", corpus)
    for _ in range(2):
        again = records(runs, runs / "results" / "records")
        assert all((again / name).read_bytes() == (collected / name).read_bytes() for name in RECORDS)


def test_arms_and_seeds_are_those_that_were_said(collected):
    """Of trained models and of read ones, of pairs, and of other people's models."""
    trained = Records(collected)["runs.csv"]
    assert list(zip(trained["arm"], trained["seed"], strict=True)) == [
        (arm, seed) for arm in sorted(arm for arm, *_ in TRAINED) for seed in (0, 1)
    ]
    for name in RECORDS[2:]:
        read = Records(collected)[name]
        assert set(zip(read["arm"], read["seed"], strict=True)) == {(arm, seed) for _, arm, seed in READ}


def test_a_runs_folder_may_have_any_name(new, collected, tmp_path, corpus):
    """Renamed, it gives the records that it gave before."""
    study(tmp_path / "runs", corpus)
    for number, folder in enumerate(sorted((tmp_path / "runs" / "models").glob("*/*"))):
        folder.rename(tmp_path / "runs" / "models" / f"2026-11-25_{number}")
    for number, folder in enumerate(sorted((tmp_path / "runs" / "held_out" / "models").iterdir())):
        folder.rename(folder.with_name(f"renamed_{number}"))
    renamed = records(tmp_path / "runs", tmp_path / "out")
    assert {name: (renamed / name).read_bytes() for name in RECORDS} == {
        name: (collected / name).read_bytes() for name in RECORDS
    }


def test_a_run_outside_of_a_study_is_called_by_name_and_language(tmp_path):
    """As its default arm would be, where it is from before there were any."""
    write_run(tmp_path / "runs" / "from_scratch_mixed" / "2026-11-25_12-00-00", seed=3, language="de")
    collect(tmp_path / "runs", tmp_path / "out", ["runs.csv"])
    (row,) = Records(tmp_path / "out")["runs.csv"].to_dict("records")
    assert (row["arm"], row["seed"]) == ("from_scratch_mixed_de", 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("from_scratch_forward_en_2", ("from_scratch_forward_en", 2)),
        ("a_1+b_1", ("a+b", 1)),
        ("a_1+b_2", ("a_1+b_2", 0)),
        ("SmolLM2-135M-Instruct.Q4_1", ("SmolLM2-135M-Instruct.Q4_1", 0)),
        ("llama2_7b", ("llama2_7b", 0)),
    ],
)
def test_a_name_alone_says_arm_and_seed(name, expected):
    """Of our own models; the last digit of a public one is no seed."""
    assert tuple(recorded_arm_and_seed({"model": name}).values()) == expected


def test_documents_carry_s(tmp_path):
    """Forward minus reverse, also of records that were committed without it."""
    write_record(losses("a", 5.0, 5.4), tmp_path / "documents.parquet")
    rows = Records(tmp_path)["documents.parquet"]
    assert "s" not in pd.read_parquet(tmp_path / "documents.parquet")
    assert np.array_equal(rows["s"], rows["nll_forward"] - rows["nll_reverse"])
