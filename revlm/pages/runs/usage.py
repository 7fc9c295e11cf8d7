"""How to write with an exported model: lines of code that a reader of its card can run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from revlm.direction import Direction

PROMPTS = {Direction.FORWARD: "Once upon a time", Direction.REVERSE: " and they lived happily ever after."}
NOTES = {
    Direction.FORWARD: "",
    Direction.REVERSE: "  # begins with a space: a whole word shall stand before it",
}
TOKENISED = {
    Direction.FORWARD: 'ids = tokenizer(text, add_special_tokens=False)["input_ids"]',
    Direction.REVERSE: 'ids = tokenizer(text, add_special_tokens=False)["input_ids"][::-1]',
}
WRITTEN = {
    Direction.FORWARD: "print(tokenizer.decode(written, skip_special_tokens=True))",
    Direction.REVERSE: "print(tokenizer.decode(written.flip(0), skip_special_tokens=True))  # in reading order",
}


@dataclass(frozen=True)
class Exported:
    """What a card says beside the run: facts of the exported folder.

    Attributes:
        facts: revlm.json.
        tokenizer: tokenizer_config.json.
        figures: names of pictures under figures/.
        command: that trains this model again, if there is one.
        folder: the name under which it is exported.
    """

    facts: dict[str, Any]
    tokenizer: dict[str, Any]
    figures: Sequence[str]
    command: str | None
    folder: str

    @property
    def quoted(self) -> str:
        """The folder as a string of Python."""
        return json.dumps(self.folder, ensure_ascii=False)

    @property
    def num_tokens(self) -> int:
        """To write in an example: prompt and passage shall stay within a window."""
        return min(40, int(self.facts["window"]) // 2)

    @property
    def directions(self) -> list[Direction]:
        """That the model was trained in."""
        return [Direction(name) for name in self.facts["directions"]]


def how_to_use(exported: Exported) -> str:
    """The part of a card that says how to write with the model, with and without revlm."""
    parts = [
        "## Use",
        f"Next to the folder `{exported.folder}`, or with this model's hub id in its place.",
    ]
    unit = exported.facts.get("granularity", "token")
    for direction in exported.directions:
        if direction is Direction.REVERSE and unit != "token":
            parts.append(
                f"What this model reverses is {unit}s, whose tokens keep their order: use revlm for that."
            )
        else:
            parts += [
                (
                    f"Write {'on from a beginning' if direction is Direction.FORWARD else 'what comes before an ending'}, "
                    "with transformers alone:"
                ),
                f"```python\n{plain_code(exported, direction)}\n```",
            ]
    best = exported.directions[-1]
    parts += [
        "The same with revlm, which knows from `revlm.json` how the model reads:",
        (
            f"```python\nfrom revlm.models.language_model import LanguageModel\n\n"
            f"lm = LanguageModel.open({exported.quoted})\n"
            f'print(lm.write("{PROMPTS[best]}", direction="{best}", temperature=0, num_tokens={exported.num_tokens}))\n```'
        ),
    ]
    return "\n\n".join(parts)


def plain_code(exported: Exported, direction: Direction) -> str:
    """Lines that write greedily in a direction with transformers and torch alone.

    Args:
        exported: says how rows begin.
        direction: of a model that reverses token by token.
    """
    begin = "bos" if exported.tokenizer.get("bos_token") else "eos"
    head = [f"tokenizer.{begin}_token_id"]
    if exported.facts.get("tag"):
        head.append(f'tokenizer.convert_tokens_to_ids("<|{direction}|>")')
    lines = [
        "import torch",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"tokenizer = AutoTokenizer.from_pretrained({exported.quoted})",
        f"model = AutoModelForCausalLM.from_pretrained({exported.quoted})",
        "",
        f'text = "{PROMPTS[direction]}"{NOTES[direction]}',
        TOKENISED[direction],
        f"row = torch.tensor([[{', '.join(head)}, *ids]])",
        f"written = model.generate(row, max_new_tokens={exported.num_tokens}, do_sample=False)[0, {len(head)}:]",
        WRITTEN[direction],
    ]
    return "\n".join(lines)
