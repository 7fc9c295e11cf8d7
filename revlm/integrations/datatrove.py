"""Scores inside a datatrove pipeline, as FineWeb-style pipelines are built.

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from revlm.integrations.datatrove import DirectionalScorer, SFilter

steps = [JsonlReader("in/"), DirectionalScorer("runs/.../model"), SFilter(minimum=0.0), JsonlWriter("out/")]
LocalPipelineExecutor(steps, tasks=4, workers=2).run()
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter
from datatrove.utils.batching import batched

from revlm.config import ModelSource


class DirectionalScorer(PipelineStep):
    """Writes num_tokens, nll_forward, nll_reverse and s into each document's metadata.

    The numbers are those of `python -m revlm.score`. A document of fewer than two tokens gets None.
    The model is opened where the step runs.

    Args:
        model: a run's model/ folder, an exported folder, a hub id or a GGUF file.
        reverse: the reverse model of a pair, `model` being the forward one.
        options: device, precision, tokenizer.
        window: body tokens in a window; None: what the model was trained with.
        batch_documents: documents that are batched together by length.
        batch_tokens: body tokens in a batch of the model.
        threads: of torch in this task; None: torch's default. Set it to cores / workers.
        cache_dir: for converted weights; None: the default of `cache.dir`.
    """

    name = "revlm: losses in both directions"
    type = "SCORER"

    def __init__(
        self,
        model: str,
        reverse: str | None = None,
        *,
        options: ModelSource | None = None,
        window: int | None = None,
        batch_documents: int = 64,
        batch_tokens: int | None = None,
        threads: int | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.models, self.batch_documents, self.threads = (model, reverse), batch_documents, threads
        self.opening: dict[str, Any] = {"options": options, "window": window, "batch_tokens": batch_tokens}
        self.cache_dir = Path(cache_dir) if cache_dir else None

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Score what flows through, in batches, keeping its order."""
        del rank, world_size
        import torch

        from revlm.measures.scoring import Scorer

        if self.threads:
            torch.set_num_threads(self.threads)
        scorer = Scorer.open(*self.models, **self.opening, cache_dir=self.cache_dir)
        for documents in batched(data, self.batch_documents):
            with self.track_time("batch"):
                columns = scorer({"text": [document.text for document in documents]})
            for index, document in enumerate(documents):
                document.metadata |= {name: values[index] for name, values in columns.items()}
                self.stat_update("scored" if columns["s"][index] is not None else "too_short")
                yield document


class SFilter(BaseFilter):
    """Keeps documents whose s lies between two bounds; drops say why.

    Args:
        minimum: lowest s that stays; None: no bound.
        maximum: highest s that stays; None: no bound.
        exclusion_writer: datatrove's writer for what is dropped.
    """

    name = "revlm: s between bounds"

    def __init__(
        self,
        minimum: float | None = None,
        maximum: float | None = None,
        *,
        exclusion_writer: DiskWriter | None = None,
    ) -> None:
        super().__init__(exclusion_writer)
        self.minimum, self.maximum = minimum, maximum

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether a document stays, or why not.

        Raises:
            KeyError: no DirectionalScorer stands before this step.
        """
        s: Any = doc.metadata["s"]
        if s is None:
            return False, "no_s"
        if self.minimum is not None and s < self.minimum:
            return False, "low_s"
        if self.maximum is not None and s > self.maximum:
            return False, "high_s"
        return True
