"""Choices of one line: they need no file under conf/."""

from __future__ import annotations

from typing import Any

from revlm.config.selection import Rule
from revlm.config.training import Init, WandbMode

# rule=dsir: the usual stand-in for good text; rule.target.source=files rule.target.path=... names another.
_TARGET = {"source": "sample", "domains": ["wikipedia"], "max_bytes_per_domain": 2_000_000}

# Group -> choice -> options that it sets.
CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "rule": {rule: {"name": rule} | ({"target": _TARGET} if rule is Rule.dsir else {}) for rule in Rule},
    "init": {
        "scratch": {"kind": Init.scratch},
        # The model's published weights, or a folder's: init=pretrained model=smollm2, or init.path=FOLDER.
        "pretrained": {"kind": Init.pretrained},
        # The weights of a run of one's own: init=trained init.path=runs/.../model.
        "trained": {"kind": Init.pretrained},
    },
    "logger": {
        # Into the run's folder, no account needed.
        "wandb": {"wandb": WandbMode.offline},
        # To the server you are logged in to.
        "wandb_online": {"wandb": WandbMode.online},
        # metrics.jsonl is written anyway.
        "none": {"wandb": WandbMode.none},
    },
}

_MODELS = {
    "scratch": {"smoke": "llama_tiny", "laptop": "llama_1m", "paper": "llama_1b"},
    "pretrained": {"smoke": "smollm2", "laptop": "smollm2", "paper": "llama2_7b"},
    # The one in init.path.
    "trained": dict.fromkeys(("smoke", "laptop", "paper"), "custom"),
}


def model_of(scale: str, init: str) -> str:
    """The model that a scale has for an init, unless `model=` chooses another.

    A scale cannot say so in its own file: Hydra refuses `override /model` inside a choice that other choices are
    named after. A scale of one's own brings conf/model/SCALE_INIT.yaml.
    """
    return _MODELS.get(init, {}).get(scale, f"{scale}_{init}")
