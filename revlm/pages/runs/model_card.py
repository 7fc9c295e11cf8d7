"""A model card out of a run's files: what the model is, what it scored, how to use and to make it again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from revlm.config import Source
from revlm.data.sample import SOURCES
from revlm.direction import Direction
from revlm.markup import markdown
from revlm.pages.runs.run import Run
from revlm.pages.runs.tables import gap_text
from revlm.pages.runs.usage import Exported, how_to_use
from revlm.pages.text import crossing_text

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MEANING = {
    Direction.FORWARD: "reads a text from its first token to its last and writes what comes after a prompt.",
    Direction.REVERSE: "reads the same token ids from the last to the first and writes what comes before a prompt. "
    "The ids are reversed, not the letters: text is tokenised as usual.",
}


def model_card(run: Run, exported: Exported) -> str:
    """README.md of an exported model, as the Hugging Face hub reads it.

    Every number stands in a file of the run; what is not known is left out.

    Args:
        run: finished.
        exported: the rest.
    """
    parts = [
        _front_matter(run, exported),
        f"# {run.summary['name']}",
        _opening(run, exported),
        how_to_use(exported),
        *_losses(run, exported),
        *_data(run),
        *_training(run, exported),
        _licence(run, exported),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(run: Run, exported: Exported) -> str:
    fields: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": [run.summary["language"]],
        "license": "unknown",
        "tags": ["revlm", "reverse-language-modeling", *(f"{d}-reading" for d in exported.directions)],
    }
    if HUB_ID.fullmatch(origin := _origin(run) or ""):
        fields["base_model"] = origin
    return f"---\n{OmegaConf.to_yaml(OmegaConf.create(fields))}---"


def _origin(run: Run) -> str | None:
    """What a continued model began from."""
    init, model = run.config.get("init", {}), run.config.get("model", {})
    if init.get("kind") != "pretrained":
        return None
    return str(init.get("path") or model.get("pretrained"))


def _opening(run: Run, exported: Exported) -> str:
    parameters = run.summary.get("parameters")
    size = f" of {parameters:,} parameters" if parameters else ""
    start = f"continued from `{origin}`" if (origin := _origin(run)) else "trained from random weights"
    how = (
        "both ways, with the same weights"
        if len(exported.directions) > 1
        else {Direction.FORWARD: "forward", Direction.REVERSE: "in reverse"}[exported.directions[0]]
    )
    lines = [
        (
            f"A causal language model{size}, {start}, that reads text {how}. Trained with revlm, which follows "
            '"Reverse Modeling in Large Language Models" ([arXiv 2410.09817](https://arxiv.org/abs/2410.09817)).'
        ),
        "",
        *(f"- **{direction}**: it {MEANING[direction]}" for direction in exported.directions),
    ]
    window = exported.facts["window"]
    lines += [
        "",
        f"It was trained on windows of at most {window} tokens; what it does with more is not known.",
    ]
    return "\n".join(lines)


def _losses(run: Run, exported: Exported) -> list[str]:
    """Held-out losses and the crossing, with what they were measured on."""
    summary = run.summary
    documents = summary.get("num_val_documents")
    held_out = f"{documents:,} held-out documents" if documents else "held-out documents"
    rows = [
        [
            f"{direction}{'' if direction in exported.directions else ' (not trained)'}",
            *(_nats(summary.get(key)) for key in (f"start_nll_{direction}", f"nll_{direction}")),
        ]
        for direction in Direction
    ]
    gap = f"The gap, reverse minus forward, is {gap_text(summary)}."
    parts = [
        "## Losses",
        (
            f"Nats per token of this model's tokenizer, on {held_out} of the same corpus, before and after training. "
            "Both directions are scored on the same tokens."
        ),
        markdown(["direction", "before", "after"], rows),
        f"{gap} One run, seed {summary['seed']}: this says nothing of other seeds.",
    ]
    parts.append(_crossing(run.intersection.get("all", {})))
    parts += [
        f"![{name.removesuffix('.png').replace('_', ' ')}](figures/{name})" for name in exported.figures
    ]
    return parts


def _crossing(crossing: Mapping[str, Any]) -> str:
    if "position" not in crossing:
        return ""
    where = crossing_text(crossing)
    at = f"from position {where} on" if crossing["position"] is not None else f"{where} within the window"
    never = crossing.get("share_never")
    share = f", and {never:.1%} of resamples never cross" if never is not None else ""
    return (
        f"Loss by position (tokens already read): the smoothed reverse curve comes to lie at or below the forward curve "
        f"for {crossing.get('hold')} positions {at}. Brackets hold the 95% interval from resampled documents{share}."
    )


def _data(run: Run) -> list[str]:
    data, summary = run.config.get("data", {}), run.summary
    source = data.get("source")
    told: dict[str, Any] = {
        "source": source,
        "path": data.get("path"),
        "configuration": data.get("name"),
        "revision": data.get("revision"),
        "split": data.get("split") if source == Source.hub.value else None,
        "language": summary["language"],
        "domains": ", ".join(data.get("domains") or []),
        "documents to train on": _count(summary.get("num_train_documents")),
        "held-out documents": _count(summary.get("num_val_documents")),
        "left out": ", ".join(f"{n:,} {why}" for why, n in (summary.get("skipped") or {}).items()),
        "corpus fingerprint": f"`{summary['corpus_fingerprint']}`",
    }
    parts = ["## Data", _told(told)]
    if source == Source.sample.value:
        domains = data.get("domains")
        rows = [
            [s.domain, s.origin, s.requirement, s.terms]
            for s in SOURCES
            if s.language == summary["language"] and (not domains or s.domain in domains)
        ]
        parts += [
            "The text comes out of these packages. Terms are what the sources state, as far as revlm knows them.",
            markdown(["domain", "origin", "package", "terms of the text"], rows),
        ]
    else:
        parts.append("revlm does not know the terms of this text: they are the publisher's to state.")
    return parts


def _training(run: Run, exported: Exported) -> list[str]:
    summary, config = run.summary, run.config
    versions = summary.get("versions") or {}
    told: dict[str, Any] = {
        "tokens, BOS and padding included": _count(summary["tokens"]),
        "share read in reverse": f"{config['direction']['reverse_ratio']:g}",
        "optimiser steps": _count(summary.get("steps")),
        "parameters": _count(summary.get("parameters")),
        "vocabulary": _count(summary.get("vocab_size")),
        "seconds": None if summary.get("seconds") is None else f"{summary['seconds']:,.0f}",
        "seed": summary["seed"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "revlm commit": f"`{summary['commit']}`" if summary.get("commit") else None,
    }
    parts = ["## Training", _told(told)]
    if exported.command:
        parts += [
            "The same again, with revlm of this commit and these versions:",
            f"```bash\n{exported.command}\n```",
        ]
    else:
        parts += ["The run's options, for `python -m revlm.train`:", f"```yaml\n{_options(config)}```"]
    return parts


def _options(config: dict[str, Any]) -> str:
    """Options that decide the numbers; folders and accounts of a machine stay out."""
    kept = {key: value for key, value in config.items() if key not in {"run", "cache", "logger", "ckpt_path"}}
    return OmegaConf.to_yaml(OmegaConf.create(kept))


def _licence(run: Run, exported: Exported) -> str:
    base = f", of `{origin}`" if (origin := _origin(run)) else ""
    return (
        "## Licence\n\n"
        f"Not set. It depends on the terms of the text{base}: before you publish this model, decide on one and write "
        "it into `license:` at the top of this file. Then:\n\n"
        f"```bash\n{upload(exported.folder)}\n```"
    )


def upload(folder: str) -> str:
    """The command that sends an exported folder to the hub."""
    return shlex.join(["hf", "upload", f"OWNER/{Path(folder).name}", folder])


def _told(values: dict[str, Any]) -> str:
    """A table of what is known."""
    return markdown(["", ""], [[key, str(value)] for key, value in values.items() if value not in (None, "")])


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _nats(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
