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

# Of a scoring run: a table of its domains and the spread of s over documents.
SCORE_CURVES = "score/curve/by_position"
SCORE_DOMAINS = "score/domains"
SCORE_HISTOGRAM = "score/s_histogram"
DOMAIN = "domain"
S_PERCENTILES = (5, 25, 50, 75, 95)
SCORE_ALL = "all"  # all domains together, in place of a domain
S, NLL_FORWARD, NLL_REVERSE, GAP = "s", "nll_forward", "nll_reverse", "gap"
INTERSECTION, NEVER = "intersection", "share_never"

SELECT_BUDGET = "select/budget_tokens"
SELECT_DOCUMENTS = "select/num_documents"
SELECT_TOKENS = "select/num_tokens"
SELECT_S = "select/s"  # mean over the documents taken
SELECT_S_ALL = "select/s_all"  # and over all that were scored
SELECT_RULE = "select/rule"


def val_nll(direction: str) -> str:
    """Key of the validation loss in one direction."""
    return f"val/nll_{direction}"


def evaluation(task: str, direction: str, metric: str) -> str:
    """Key of a task's result, such as evaluate/mmlu/forward/acc."""
    return f"evaluate/{task}/{direction}/{metric}"


def curve(direction: str, position: int, chart: str = CURVES) -> str:
    """Key of one point of a chart of curves, as a scalar that terminal dashboards can draw."""
    return f"{chart.removesuffix('/by_position')}/{direction}/position_{position:04d}"


def score(domain: str, what: str) -> str:
    """Key of a domain's number, such as score/law/s."""
    return f"score/{domain}/{what}"


def s_quantile(percent: int) -> str:
    """Key of a quantile of s over documents."""
    return f"score/s_quantile/p{percent:02d}"


def plotted_table(chart: str) -> str:
    """Key under which W&B keeps the table behind one of its charts."""
    return f"{chart}_table"
