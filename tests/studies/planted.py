"""Documents of a study with planted losses."""

import numpy as np
import pandas as pd

DOCUMENTS = 200


def losses(
    arm, forward, reverse, *, seeds=(0, 1, 2), language="en", name="held_out", noise=0.02, of_seed=0.0
):
    """Rows of one arm: documents differ much, all arms of a document alike, and each loss a little.

    Args:
        arm, language, name: labels.
        forward, reverse: mean losses.
        noise: standard deviation of a document's own.
        of_seed: what each seed adds to the reverse loss, times -1, 0, 1, ...
    """
    of_document = np.random.default_rng(5).normal(0, 0.5, DOCUMENTS)
    tables = []
    for seed in seeds:
        rng = np.random.default_rng([seed, *arm.encode()])
        tables.append(
            pd.DataFrame(
                {
                    "set": name,
                    "arm": arm,
                    "seed": seed,
                    "doc_id": [f"{language}/{n}" for n in range(DOCUMENTS)],
                    "domain": [f"domain{n % 4}" for n in range(DOCUMENTS)],
                    "language": language,
                    "label": None,
                    "num_tokens": np.random.default_rng(6).integers(40, 400, DOCUMENTS),
                    "nll_forward": forward + of_document + rng.normal(0, noise, DOCUMENTS),
                    "nll_reverse": reverse
                    + of_document
                    + rng.normal(0, noise, DOCUMENTS)
                    + of_seed * (seed - 1),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def validations(*arms, seeds=(0, 1, 2)):
    """Losses that fall over training, for each arm."""
    return pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "tokens": tokens, "nll_forward": 8 - tokens / 500 + 0.01 * seed,
             "nll_reverse": 8.1 - tokens / 500 - 0.01 * seed}
            for arm in arms for seed in seeds for tokens in (0, 500, 1000)
        ]
    )  # fmt: skip


def runs(*arms, seeds=(0, 1, 2)):
    """What runs.csv says of each arm."""
    return pd.DataFrame([{"arm": arm, "seed": seed, "tokens": 1000} for arm in arms for seed in seeds])
