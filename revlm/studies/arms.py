"""Arms: what records call a kind of run, and what tables call it."""

from __future__ import annotations

LANGUAGES = {"en": "English", "de": "German", "es": "Spanish", "zh": "Chinese", "ja": "Japanese", "ar": "Arabic",
             "nl": "Dutch"}  # fmt: skip

# Trained from scratch; in records a language follows. Double: as many tokens in each direction as the models of one.
KINDS = FORWARD, REVERSE, MIXED, DOUBLE = tuple(
    f"from_scratch_{kind}" for kind in ("forward", "reverse", "mixed", "mixed_double")
)
FORWARD_EN, REVERSE_EN, MIXED_EN, DOUBLE_EN = (f"{kind}_en" for kind in KINDS)
FROM_SCRATCH = {
    FORWARD: "forward only",
    REVERSE: "reverse only",
    MIXED: "mixed, same compute",
    DOUBLE: "mixed, same tokens per direction",
}

# Read text for its S: forward and reverse losses of a model each, or both of one.
PAIR = f"{FORWARD_EN}+{REVERSE_EN}"
READERS = {DOUBLE_EN: "mixed model", PAIR: "forward model and reverse model"}
# In the narrower columns of 05.
READERS_BRIEFLY = {PAIR: "forward and reverse model", DOUBLE_EN: "mixed model"}
# Mixed models of text whose two curves are one in truth.
MARKOV = f"{MIXED}_markov"

# FORWARD_EN, trained further.
CONTINUED_FORWARD, CONTINUED_MIXED, CONTINUED_REVERSE = (
    f"continued_{kind}_en" for kind in ("forward", "mixed", "reverse")
)
CONTINUED = {
    FORWARD_EN: "forward model, before",
    CONTINUED_FORWARD: "continued forward",
    CONTINUED_MIXED: "continued both ways",
    CONTINUED_REVERSE: "continued in reverse",
    MIXED_EN: "mixed from scratch, equal reverse tokens",
    DOUBLE_EN: "mixed from scratch, equal tokens in all",
}
PUBLIC_CONTINUED = "public_continued_mixed"

# FORWARD_EN, trained further on what a rule selects.
TOP_S, BOTTOM_S, RANDOM, LENGTH_MATCHED = (
    f"selected_{rule}" for rule in ("top_s", "bottom_s", "random", "length_matched")
)
SELECTED = {
    TOP_S: "highest S",
    BOTTOM_S: "lowest S",
    RANDOM: "random",
    "selected_low_nll": "lowest forward loss",
    "selected_mid_nll": "middle forward loss",
    "selected_high_nll": "highest forward loss",
    "selected_dsir": "DSIR towards wikipedia",
    LENGTH_MATCHED: "random, lengths of highest S",
}
