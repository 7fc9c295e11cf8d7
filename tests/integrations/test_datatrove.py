"""The scorer inside datatrove pipelines, under its executors, with real processes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from revlm.integrations.datatrove import DirectionalScorer, SFilter
from revlm.measures.scoring import Scorer

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def inputs(corpus, tmp_path):
    """Forty real documents in two files, and one too short to score."""
    rows = [{"text": row["text"], "id": row["doc_id"]} for row in corpus.dataset.select(range(40))]
    rows.append({"text": "a", "id": "short"})
    for number in range(2):
        lines = [json.dumps(row) for row in rows[number::2]]
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "in"


def steps(inputs, model, out, minimum=None):
    middle = [SFilter(minimum=minimum)] if minimum is not None else []
    scorer = DirectionalScorer(model, threads=1)
    return [JsonlReader(str(inputs)), scorer, *middle, JsonlWriter(str(out), compression=None)]


def written(out):
    lines = [line for path in sorted(out.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return {row["id"]: row["metadata"] for row in map(json.loads, lines)}


@pytest.mark.process
def test_a_local_pipeline_gives_the_scorers_numbers(inputs, smoke_run, corpus, tmp_path, cache_dir):
    """Two tasks in two processes write what the scorer says of each document."""
    model = str(smoke_run / "model")
    LocalPipelineExecutor(
        steps(inputs, model, tmp_path / "out"), tasks=2, workers=2, logging_dir=str(tmp_path / "logs")
    ).run()
    found = written(tmp_path / "out")
    rows = corpus.dataset.select(range(40))
    direct = Scorer.open(model, cache_dir=cache_dir)({"text": list(rows["text"])})
    for doc_id, s, tokens in zip(rows["doc_id"], direct["s"], direct["num_tokens"], strict=True):
        assert found[doc_id]["s"] == pytest.approx(s, abs=1e-5)
        assert found[doc_id]["num_tokens"] == tokens
    assert found["short"]["s"] is None
    assert len(found) == 41


@pytest.mark.process
def test_a_pipeline_under_ray_filters_by_s(inputs, smoke_run, tmp_path):
    """Ray's workers score; the filter keeps exactly the documents at or above its bound."""
    import ray

    model = str(smoke_run / "model")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        for name, minimum in (("all", None), ("high", 0.0)):
            RayPipelineExecutor(
                steps(inputs, model, tmp_path / name, minimum),
                tasks=2,
                workers=2,
                mem_per_cpu_gb=0,
                logging_dir=str(tmp_path / f"logs_{name}"),
            ).run()
    finally:
        ray.shutdown()
    everything, kept = written(tmp_path / "all"), written(tmp_path / "high")
    assert len(everything) == 41
    expected = {doc_id for doc_id, facts in everything.items() if facts["s"] is not None and facts["s"] >= 0}
    assert set(kept) == expected
    assert 0 < len(kept) < 41


def test_a_filter_says_why_it_drops():
    """Below, above, and never scored have names of their own in datatrove's statistics."""
    from datatrove.data import Document

    keeps = SFilter(minimum=-0.1, maximum=0.1)
    documents = [Document("t", "1", metadata={"s": s}) for s in (-0.2, -0.1, 0.1, 0.2, None)]
    assert [keeps.filter(document) for document in documents] == [
        (False, "low_s"),
        True,
        True,
        (False, "high_s"),
        (False, "no_s"),
    ]


@pytest.mark.process
def test_the_readmes_pipeline_runs_as_written(inputs, smoke_run, tmp_path, cache_dir):
    """The block in the README, with nothing changed but where the model lies."""
    readme = (ROOT / "README.md").read_text()
    block = next(b for b in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "DirectionalScorer" in b)
    (tmp_path / "corpus").symlink_to(inputs)
    code = re.sub(r"runs/[^\"']*model", str(smoke_run / "model"), block)
    (tmp_path / "pipeline.py").write_text(code)
    run = subprocess.run(
        [sys.executable, "pipeline.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert list((tmp_path / "scored").glob("*.jsonl.gz"))
