"""The only datamodule: a corpus as oriented rows, for training and for validation both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader
from transformers import PreTrainedTokenizerFast

from revlm.cache import atomic_folder, digest
from revlm.config import BudgetConfig, DataConfig, DirectionConfig, Packing, TokenizerConfig
from revlm.data import tokens
from revlm.data.corpus import load_corpus
from revlm.data.layout import Layout
from revlm.data.order import document_hashes
from revlm.data.rows import arrow_rows
from revlm.data.split import split_mask
from revlm.data.streams import Batch, EvalStream, Share, TrainStream
from revlm.data.units import checked_units
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.stopping import end_with_parent


class TokenStreamDataModule(L.LightningDataModule):
    """Oriented rows of a corpus.

    `open()` reads or builds everything that lies on disk; the model needs its vocabulary. Ranks
    may open at the same time: one builds, the others wait.

    Args:
        data: the corpus and its windows.
        tokenizer: an existing tokenizer, or the size of one to train.
        direction: share of tokens that are read in reverse, and the tags.
        budget: tokens and rows.
        seed: of order and directions.
        cache_dir: where prepared corpora and ids are kept.
        pretrained: folder or hub id whose tokenizer is used when `tokenizer.path` names none.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        tokenizer: TokenizerConfig,
        direction: DirectionConfig,
        budget: BudgetConfig,
        seed: int,
        cache_dir: Path,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        self.data, self.tokenizer_config, self.direction = data, tokenizer, direction
        self.budget, self.seed, self.cache_dir, self.pretrained = budget, seed, cache_dir, pretrained
        self.opened = False

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Directions that training batches hold."""
        shares = (1 - self.direction.reverse_ratio, self.direction.reverse_ratio)
        return tuple(direction for direction, share in zip(Direction, shares, strict=True) if share > 0)

    def open(self) -> None:
        """Build or open corpus, tokenizer and token store."""
        if self.opened:
            return
        self.corpus = load_corpus(self.data, self.cache_dir)
        held_out = self._held_out()
        self.tokenizer = self._tokenizer(held_out)
        tags = tokens.add_tags(self.tokenizer) if self.direction.tag else {}
        self.store = tokens.build_store(
            self.corpus.dataset,
            held_out,
            self.tokenizer,
            corpus_fingerprint=self.corpus.fingerprint,
            cache_dir=self.cache_dir,
        )
        self.layout = Layout.of(
            self.tokenizer,
            window=self.data.window,
            packed=self.data.packing is Packing.packed,
            tags=tags,
            units=checked_units(self.data, self.tokenizer, self.store),
        )
        self.opened = True

    def prepare_data(self) -> None:
        """Lightning's name for `open`, on one process of each machine."""
        self.open()

    def setup(self, stage: str) -> None:
        """Streams of this rank."""
        del stage
        self.open()
        rank = self.trainer.global_rank if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        share = self.share(rank, world)
        self.train_stream = TrainStream(
            self.store,
            self.layout,
            reverse_ratio=self.direction.reverse_ratio,
            seed=self.seed,
            num_steps=self.num_steps,
            share=share,
        )
        self.val_streams = [
            EvalStream(
                self.store,
                self.layout,
                direction=direction,
                batch_size=share.micro_batch_size,
                max_tokens=self.data.max_val_tokens,
                rank=rank,
                world=world,
            )
            for direction in Direction
        ]

    @property
    def num_steps(self) -> int:
        """Optimiser steps that the token budget pays for, a multiple of the number of validations."""
        passes = len(self.directions) if self.budget.per_direction else 1
        steps = self.budget.tokens * passes / self.tokens_per_step
        validations = self.budget.validations
        return max(1, round(steps / validations)) * validations

    @property
    def tokens_per_step(self) -> int:
        """Input tokens of an optimiser step, BOS and padding included."""
        return self.budget.batch_size * self.layout.row_length

    def share(self, rank: int, world: int) -> Share:
        """This rank's part of each step.

        Raises:
            UserError: the rows of a step do not divide evenly.
        """
        batch, micro = self.budget.batch_size, self.budget.micro_batch_size
        if micro is None and batch % world == 0:
            micro = batch // world
        if micro is None or batch % (micro * world):
            raise UserError(
                f"budget.batch_size={batch} does not divide over {world} ranks in micro-batches of "
                f"{micro or 'equal size'}: choose a multiple of ranks * budget.micro_batch_size."
            )
        return Share(batch, micro, rank, world)

    def train_dataloader(self) -> StatefulDataLoader:
        """Batches of the whole run; its state is the number of batches taken."""
        return StatefulDataLoader(self.train_stream, **self._loading)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader a direction, in the order of `Direction`."""
        return [DataLoader(stream, **self._loading) for stream in self.val_streams]

    @property
    def _loading(self) -> dict[str, Any]:
        """Streams make whole batches; workers go on while their parent finishes a step."""
        return {
            "batch_size": None,
            "num_workers": self.data.num_workers,
            "worker_init_fn": end_with_parent,
        }

    def _held_out(self) -> npt.NDArray[np.bool_]:
        """The split, made once: it hashes every text."""
        key = digest(tokens.CODE_VERSION, self.corpus.fingerprint, self.data.val_fraction)
        folder = self.cache_dir / "splits" / key
        with atomic_folder(folder) as building:
            if building is not None:
                np.save(building / "held_out.npy", split_mask(self.corpus.dataset, self.data.val_fraction))
        loaded: npt.NDArray[np.bool_] = np.load(folder / "held_out.npy")
        return loaded

    def _tokenizer(self, held_out: npt.NDArray[np.bool_]) -> PreTrainedTokenizerFast:
        config = self.tokenizer_config
        if existing := config.path or self.pretrained:
            return tokens.load_tokenizer(existing, begin=config.begin)
        split = digest(np.packbits(held_out).tobytes().hex())
        key = digest(tokens.CODE_VERSION, self.corpus.fingerprint, split, config.vocab_size, config.max_bytes)
        folder = self.cache_dir / "tokenizers" / key
        with atomic_folder(folder) as building:
            if building is not None:
                bpe = tokens.train_bpe(self._training_texts(held_out), config.vocab_size)
                bpe.save_pretrained(building)
        return tokens.load_tokenizer(str(folder))

    def _training_texts(self, held_out: npt.NDArray[np.bool_]) -> Iterator[str]:
        """Texts of the training split, thinned by a hash of their ids to what the BPE may see."""
        keep = min(1.0, self.tokenizer_config.max_bytes / max(1, self.corpus.dataset.data.nbytes))
        row = 0
        for rows in arrow_rows(self.corpus.dataset, ["doc_id", "text"]):
            hashes = document_hashes(rows["doc_id"].to_pylist()).tolist()
            for hashed, text in zip(hashes, rows["text"], strict=True):
                if not held_out[row] and hashed <= keep * 2**64:
                    yield text.as_py()
                row += 1
