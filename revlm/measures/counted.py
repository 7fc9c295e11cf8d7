"""What counting n-grams makes of a run's own tokens: the losses that a model has to beat.

Text and targets are the run's. Counted are the windows that the run reads in its first pass over the text, each once and
each in the direction in question: a mixed run reads part of them that way and the others the other way round, with the
same weights, so both directions get all of its text. Later passes read the same windows again and would
only multiply counts. The losses are means over the targets of the validation, as the model's are.
"""

from __future__ import annotations

from collections.abc import Sequence

from revlm.data.streams import EvalStream, TrainStream
from revlm.progress import track
from revlm.statistics.kneser_ney import MAX_TOKENS, ORDERS, KneserNey

# Seconds before anybody is told that something is going on.
PATIENCE = 5


def counted_losses(
    train: TrainStream, validations: Sequence[EvalStream], vocab_size: int
) -> dict[str, dict[str, float]] | None:
    """Validation losses of interpolated modified Kneser-Ney models, fitted on a run's own text.

    Args:
        train: the run's.
        validations: one a direction.
        vocab_size: largest id + 1.

    Returns:
        direction -> order ("2", "3", "4") -> nats per token; None where the run reads more than `MAX_TOKENS`.
    """
    if train.most_first_pass > MAX_TOKENS:
        return None
    items, found = train.first_pass(), {}
    with track("n-grams", len(validations), "directions", delay=PATIENCE) as bar:
        for stream in validations:
            model = KneserNey(
                [train.builder.body(item, stream.direction) for item in items], vocab_size=vocab_size
            )
            targets = [stream.builder.body(item, stream.direction) for item in range(len(stream.windows))]
            losses = model.nll(targets)
            found[stream.direction.value] = {str(order): float(losses[order].mean()) for order in ORDERS}
            bar.update()
    return found
