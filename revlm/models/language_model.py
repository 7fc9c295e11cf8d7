"""A causal language model as commands open it: weights, tokenizer, and the way it reads text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from revlm.cache import default_cache, digest
from revlm.config import Granularity, ModelSource
from revlm.data.layout import Layout
from revlm.data.tokens import TAGS, load_tokenizer, tokenizer_fingerprint
from revlm.data.units import units_of
from revlm.direction import Direction
from revlm.errors import UserError, first_line
from revlm.models import FACTS, backbone, generation
from revlm.models.nll import context_of, is_causal

# Bytes in a folder's name; file systems allow 255, and files that are being written have names with more in them.
LONGEST_NAME = 200
# The context of models such as Mamba, which read on and on.
ENDLESS = 1 << 31


@dataclass(frozen=True)
class LanguageModel:
    """A causal LM that is ready to read rows.

    Attributes:
        name: for tables and messages.
        model: in evaluation mode, on its device.
        tokenizer: the model's.
        layout: how a window becomes a row, one window a row.
        directions: that it was trained on; forward alone where nothing says otherwise.
        facts: what the export says of itself (revlm.json); empty for other models.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    layout: Layout
    directions: tuple[Direction, ...]
    facts: dict[str, Any]

    @classmethod
    def open(cls, source: str, *, device: str = "auto", precision: str = "auto") -> LanguageModel:
        """The model in an exported folder, of a hub id, or of a GGUF file; see `open_model`."""
        options = ModelSource(device=device, precision=precision)
        return open_model(source, options, default_cache(), window=None)

    def write(self, prompt: str, *, direction: str = Direction.FORWARD, **options: Any) -> str:
        """A text that begins with the prompt, or ends with it in reverse, in reading order.

        Args:
            prompt: may be empty.
            direction: forward or reverse.
            options: seed, and those of `passages`.

        Raises:
            UserError: see `passages`.
        """
        options["seeds"] = [options.pop("seed", 0)]
        (passage,) = self.passages([prompt], direction=Direction(direction), **options)
        return passage.text

    def passages(
        self,
        prompts: Sequence[str],
        *,
        direction: Direction,
        num_tokens: int = 64,
        allow: bool = False,
        **options: Any,
    ) -> list[generation.Passage]:
        """What the model writes to each prompt; see `generation.generate` for the options.

        Raises:
            UserError: it was not trained in this direction, and that is not allowed; or a prompt is
                too long.
        """
        if not allow:
            self.check_direction(direction)
        options |= {"direction": direction, "num_tokens": num_tokens}
        return generation.generate(self.model, self.tokenizer, self.layout, prompts, **options)

    def check_direction(self, direction: Direction) -> None:
        """Refuse a direction that the model was not trained in.

        Raises:
            UserError: with the directions that it knows.
        """
        if direction not in self.directions:
            raise UserError(
                f"{self.name} was trained {' and '.join(self.directions)}, not {direction}: set allow=true to see what "
                f"it does anyway, or choose a model that was trained {direction} or mixed."
            )

    @property
    def begin(self) -> str:
        """The token that stands before every window: BOS, or end-of-text where there is none."""
        return str(self.tokenizer.convert_ids_to_tokens(self.layout.bos))

    def fingerprint(self) -> str:
        """Hash of all weights, whatever file they came from."""
        hasher = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.model.state_dict().items()):
            hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            hasher.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return hasher.hexdigest()

    def tokenizer_fingerprint(self) -> str:
        """Hash of everything that turns text into ids."""
        return tokenizer_fingerprint(self.tokenizer)


def open_model(source: str, options: ModelSource, cache_dir: Path, *, window: int | None) -> LanguageModel:
    """A model from a run, an exported folder, a hub id or a GGUF file, ready to read.

    Args:
        source: which; `package:file` names weights inside a Python package.
        options: device, precision, and a tokenizer in place of the model's own.
        cache_dir: for converted weights.
        window: body tokens in a window; None: what the model was trained with, else its context.

    Raises:
        UserError: it cannot be read, sees what it is to predict, has no begin token, a shorter
            context, or another tokenizer than the one it was trained with.
    """
    folder = backbone.locate(source, cache_dir)
    facts = _facts(folder)
    tokenizer = load_tokenizer(options.tokenizer or folder, begin=options.begin)
    _check_tokenizer(tokenizer, folder, facts, options)
    layout = _layout(tokenizer, facts, window or facts.get("window"), folder)
    transformers_logging.disable_progress_bar()
    device = _device(options.device)
    dtype = _dtype(options.precision, device)
    model = backbone.from_pretrained(folder, layout.row_length, dtype=dtype).to(device).eval()
    backbone.fit_vocabulary(model, tokenizer, num_tags=0)
    if not is_causal(model):
        raise UserError(f"{source} sees what it is to predict: choose a causal language model.")
    directions = tuple(Direction(name) for name in facts.get("directions", [Direction.FORWARD.value]))
    return LanguageModel(model_name(source, facts), model, tokenizer, layout, directions, facts)


def model_name(source: str, facts: Mapping[str, Any] | None = None) -> str:
    """A short name for tables and folders: `<arm>_<seed>` of a model that says them, wherever it lies.

    Of another model, and of one that was exported before 0.2: a run's experiment and id, or a folder's or hub id's end.
    Facts are what its revlm.json says, which is read where they are not given.
    """
    facts = _facts(source) if facts is None else facts
    return f"{facts['arm']}_{facts['seed']}".replace("/", "_") if "arm" in facts else _place(source)


def model_names(sources: Sequence[str]) -> list[str]:
    """A name for each of several models; where their runs share arm and seed, the folders' names tell them apart.

    Raises:
        UserError: two of them cannot be told apart.
    """
    own = [model_name(source) for source in sources]
    pairs = zip(own, sources, strict=True)
    names = [name if own.count(name) == 1 else _place(source) for name, source in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"model=[{','.join(sources)}] names {twice[0]} twice: give each model once.")
    return [_short(name) for name in names]


def _short(name: str) -> str:
    """A name that can be a folder's; a long one ends with its hash, so that two stay apart."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"{name.encode()[: LONGEST_NAME - 9].decode(errors='ignore')}-{digest(name)[:8]}"


def arm_and_seed(models: Mapping[Direction, LanguageModel]) -> dict[str, Any]:
    """What studies call a model, or a pair: its arm and its seed.

    Other people's models are arms of their own, seed 0. The arm of a pair is A+B; if its seeds differ, both names
    stand there, and seed 0.

    Args:
        models: which model reads which way, the same one or two.

    Returns:
        arm and seed; nothing where a model was exported before 0.2 and does not say them.
    """
    both = {id(models[direction]): models[direction] for direction in Direction}.values()
    if any(model.facts and "arm" not in model.facts for model in both):
        return {}
    arms = [str(model.facts.get("arm", model.name)) for model in both]
    first, *others = [int(model.facts.get("seed", 0)) for model in both]
    if others not in ([], [first]):
        first, arms = 0, [model.name for model in both]
    return {"arm": "+".join(arms), "seed": first}


def _place(source: str) -> str:
    path = Path(source)
    parts = path.parent.parts[-2:] if path.name == "model" and path.parent.name else path.parts[-1:]
    return "_".join(part for part in parts if part not in {"/", "runs"}).removesuffix(".gguf") or source


def _facts(folder: str) -> dict[str, Any]:
    """What revlm.json says, in a folder or on the hub; empty for models that revlm did not export."""
    if Path(folder).is_file():
        return {}
    try:
        path = Path(str(cached_file(folder, FACTS)))
    except OSError:
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}): export the model again.") from error


def _check_tokenizer(
    tokenizer: PreTrainedTokenizerFast, folder: str, facts: dict[str, Any], options: ModelSource
) -> None:
    """Refuse another tokenizer than the model's: its ids would mean other pieces of text."""
    expected = facts.get("tokenizer_fingerprint")
    if expected is None and options.tokenizer:
        with suppress(UserError):
            expected = tokenizer_fingerprint(load_tokenizer(folder))
    found = tokenizer_fingerprint(tokenizer)
    if expected not in (None, found):
        raise UserError(
            f"the tokenizer of {options.tokenizer or folder} (hash {found}) is not the one that {folder} was trained "
            f"with (hash {expected}): use the model's own, or export the model again."
        )


def _layout(
    tokenizer: PreTrainedTokenizerFast, facts: dict[str, Any], window: int | None, folder: str
) -> Layout:
    """One window a row; without a window, the longest that the model's context holds."""
    granularity = Granularity(facts.get("granularity", Granularity.token.value))
    layout = Layout.of(
        tokenizer,
        window=window or 0,
        tags=_tags(tokenizer) if facts.get("tag") else {},
        units=units_of(granularity, facts.get("segment_tokens", 1), tokenizer),
    )
    return layout if window else replace(layout, window=_context(folder) - layout.prefix)


def _tags(tokenizer: PreTrainedTokenizerFast) -> dict[Direction, int]:
    vocabulary = tokenizer.get_vocab()
    missing = [tag for tag in TAGS.values() if tag not in vocabulary]
    if missing:
        raise UserError(f"the tokenizer lacks the direction tag {missing[0]}: export the model again.")
    return {direction: int(vocabulary[tag]) for direction, tag in TAGS.items()}


def _context(folder: str) -> int:
    """Positions that a model has, without its weights; ENDLESS where nothing ends them."""
    try:
        config = AutoConfig.from_pretrained(folder)
    except Exception as error:
        raise UserError(backbone.unreadable(folder, error)) from error
    return context_of(config) or ENDLESS


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"model.device={name} is not available on this machine ({first_line(error)}): set model.device=cpu."
        ) from error


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if precision not in dtypes:
        raise UserError(f"model.precision={precision}: choose one of auto, {', '.join(dtypes)}.")
    return dtypes[precision]
