"""A model card out of a run's files: numbers and code; its sentences stand in model_card.md.jinja."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from revlm.config import Source
from revlm.data.sample import SOURCES
from revlm.direction import Direction
from revlm.markup import markdown
from revlm.measures.crossing import ALL
from revlm.pages.runs.run import Run
from revlm.pages.runs.tables import gap_text
from revlm.pages.text import crossing_text, skipped_text

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

TEMPLATE = Path(__file__).with_suffix(".md.jinja")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
PROMPTS = {Direction.FORWARD: "Once upon a time", Direction.REVERSE: " and they lived happily ever after."}


@dataclass(frozen=True)
class Exported:
    """What a card says beside the run: facts of the exported folder."""

    facts: dict[str, Any]  # revlm.json
    tokenizer: dict[str, Any]  # tokenizer_config.json
    figures: Sequence[str]  # names of pictures under figures/
    command: str | None  # that trains this model again
    folder: str  # the name under which it is exported

    @property
    def quoted(self) -> str:
        """The folder as a string of Python."""
        return json.dumps(self.folder, ensure_ascii=False)

    @property
    def num_tokens(self) -> int:
        """To write in an example: prompt and passage must fit into a window."""
        return min(40, int(self.facts["window"]) // 2)

    @property
    def directions(self) -> list[Direction]:
        """That the model was trained in."""
        return [Direction(name) for name in self.facts["directions"]]


def model_card(run: Run, exported: Exported) -> str:
    """README.md of an exported model, as the Hugging Face hub reads it.

    Every number stands in a file of the finished run; what is not known is left out.
    """
    # It costs half a second, and only cards need it.
    from huggingface_hub import ModelCard

    init, model = run.config.get("init", {}), run.config.get("model", {})
    origin = str(init.get("path") or model.get("pretrained")) if init.get("kind") == "pretrained" else None
    known: dict[str, Any] = {
        "summary": run.summary,
        "config": run.config,
        "crossing": run.intersection.get(ALL, {}),
        "exported": exported,
        "origin": origin,
        "losses": [_losses(run, exported, direction) for direction in Direction],
        "left_out": skipped_text(run.summary),
        "terms": _terms(run),
        "options": _options(run.config),
        "prompts": PROMPTS,
    }
    known |= {"count": _count, "told": _told, "markdown": markdown, "plain_code": plain_code}
    known |= {"gap_text": gap_text, "crossing_text": crossing_text, "upload": upload}
    card = ModelCard.from_template(_card_data(run, exported, origin), str(TEMPLATE), **known)
    return f"{card}\n"


def plain_code(exported: Exported, direction: Direction) -> str:
    """Lines that write greedily with transformers and torch alone, for a model that reverses token by token."""
    head = [f"tokenizer.{'bos' if exported.tokenizer.get('bos_token') else 'eos'}_token_id"]
    if exported.facts.get("tag"):
        head.append(f'tokenizer.convert_tokens_to_ids("<|{direction}|>")')
    note = turn = back = order = ""
    if direction is Direction.REVERSE:
        note, turn = "  # begins with a space, so that a whole word comes before it", "[::-1]"
        back, order = ".flip(0)", "  # in reading order"
    return f"""\
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({exported.quoted})
model = AutoModelForCausalLM.from_pretrained({exported.quoted})

text = "{PROMPTS[direction]}"{note}
ids = tokenizer(text, add_special_tokens=False)["input_ids"]{turn}
row = torch.tensor([[{", ".join(head)}, *ids]])
written = model.generate(row, max_new_tokens={exported.num_tokens}, do_sample=False)[0, {len(head)}:]
print(tokenizer.decode(written{back}, skip_special_tokens=True)){order}"""


def upload(folder: str) -> str:
    """The command that sends an exported folder to the hub."""
    return shlex.join(["hf", "upload", f"OWNER/{Path(folder).name}", folder])


def _card_data(run: Run, exported: Exported, origin: str | None) -> ModelCardData:
    """What the hub reads of a card, the held-out losses among it."""
    from huggingface_hub import EvalResult, ModelCardData

    data, names = run.config.get("data", {}), [f"nll_{direction}" for direction in Direction]
    path = data.get("path" if data.get("source") == Source.hub else "source")
    of_corpus: Any = {"task_type": "text-generation", "dataset_type": str(path)}
    of_corpus["dataset_name"] = "held-out documents of the same corpus"
    losses = [
        EvalResult(**of_corpus, metric_type=name, metric_name=name, metric_value=run.summary[name])
        for name in names
        if run.summary[name] is not None
    ]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        language=[run.summary["language"]],
        license="unknown",
        tags=["revlm", "reverse-language-modeling", *(f"{d}-reading" for d in exported.directions)],
        base_model=origin if HUB_ID.fullmatch(origin or "") else None,
        model_name=str(run.summary["name"]) if losses else None,
        eval_results=losses or None,
    )


def _losses(run: Run, exported: Exported, direction: Direction) -> list[str]:
    """A direction's row: its loss before and after training."""
    values = [run.summary.get(name) for name in (f"start_nll_{direction}", f"nll_{direction}")]
    nats = ["not measured" if value is None else f"{value:.4f}" for value in values]
    return [f"{direction}{'' if direction in exported.directions else ' (not trained)'}", *nats]


def _terms(run: Run) -> list[list[str]]:
    """What is known of the terms of the sample's texts that the run read."""
    domains = run.config.get("data", {}).get("domains")
    spoken = [source for source in SOURCES if source.language == run.summary["language"]]
    read = [source for source in spoken if not domains or source.domain in domains]
    return [[source.domain, source.origin, source.requirement, source.terms] for source in read]


def _options(config: dict[str, Any]) -> str:
    """Options that decide the numbers; folders and accounts of a machine stay out."""
    kept = {key: value for key, value in config.items() if key not in {"run", "cache", "logger", "ckpt_path"}}
    return OmegaConf.to_yaml(OmegaConf.create(kept))


def _told(values: dict[str, Any]) -> str:
    """A table of what is known; what the template does not find is an empty text."""
    told = {key: "" if value is None else str(value) for key, value in values.items()}
    return markdown(["", ""], [[key, value] for key, value in told.items() if value])


def _count(value: Any) -> str | None:
    return f"{value:,.0f}" if isinstance(value, int | float) else None
