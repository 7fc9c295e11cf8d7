"""The names of everything a run records, in metrics.jsonl and in W&B alike."""

STEP = "step"
TOKENS = "tokens"  # input tokens trained on so far, the x axis of every chart

TRAIN_NLL = "train/nll"
TRAIN_LR = "train/lr"
TRAIN_GRAD_NORM = "train/grad_norm"
TOKENS_PER_SECOND = "train/tokens_per_second"

VAL_NLL_FORWARD = "val/nll_forward"
VAL_NLL_REVERSE = "val/nll_reverse"
VAL_GAP = "val/gap"  # nll_reverse - nll_forward, nats per token
VAL_RELATIVE_GAP = "val/relative_gap"  # gap / nll_forward

INTERSECTION_POSITION = "intersection/position"  # null: never within the window
INTERSECTION_LOW = "intersection/low"
INTERSECTION_HIGH = "intersection/high"
INTERSECTION_NEVER = "intersection/share_never"

CURVES = "curve/by_position"  # W&B's chart
SAMPLES = "samples"  # W&B's table of texts


def val_nll(direction: str) -> str:
    """Key of the validation loss in one direction."""
    return f"val/nll_{direction}"


def evaluation(task: str, direction: str, metric: str) -> str:
    """Key of a task's result, such as evaluate/mmlu/forward/acc."""
    return f"evaluate/{task}/{direction}/{metric}"


def curve(direction: str, position: int) -> str:
    """Key of one point of a per-position curve, as a scalar that terminal dashboards can draw."""
    return f"curve/{direction}/position_{position:04d}"
