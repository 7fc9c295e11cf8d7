"""lm-eval over a model that reads in either direction: one adapter, direction as an argument."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import lm_eval
import numpy as np
from lm_eval import evaluator
from lm_eval.api.group import Group
from lm_eval.api.instance import Instance
from lm_eval.api.model import CacheHook
from lm_eval.api.task import Task
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable

from revlm.config import EvaluateConfig, QuestionReading
from revlm.direction import Direction
from revlm.errors import UserError
from revlm.models.language_model import LanguageModel
from revlm.progress import track

# lm-eval's request: ((context, continuation), context ids, continuation ids).
Request = tuple[tuple[str, str], list[int], list[int]]
Answer = tuple[float, bool]

DIRECTIONS = {
    QuestionReading.forward: (Direction.FORWARD,),
    QuestionReading.reverse: (Direction.REVERSE,),
    QuestionReading.combined: tuple(Direction),
}
SEEDS = ("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed")


class DirectionalHFLM(HFLM):
    """lm-eval's HFLM with a direction.

    lm-eval cuts each request into context ids c (the question) and continuation ids a (the answer).
    They are taken as one stream, c + a, and only what HFLM is given of it depends on the direction:

                  context          continuation      what HFLM then sums
        forward   [BOS] c          a                 log p(a | c)
        reverse   BOS a reversed   c reversed        log p(c | a)
        combined  both: forward + weight * reverse

    Forward hands HFLM its own requests, so the numbers are HFLM's. Reverse scores the question given
    the answer: all choices share the question's tokens, so their sums compare as they are.

    A model that was exported by revlm saw BOS first, and a tag behind it where it was trained with
    tags; both stand first in either direction. For it HFLM runs with add_bos_token=True; for other
    models HFLM's default stays in forward.

    Question and answer are turned apart: where units larger than tokens are reversed, a unit that lay
    across the boundary would bring a piece of the question before the answer's end.

    Args:
        lm: its model, tokenizer and layout.
        reading: direction of all requests.
        weight: of the reverse log-likelihood in combined.
        batch_size: rows in a forward pass.

    Attributes:
        too_long: by direction, the (context, continuation) of which a part was cut to fit.
        parts: by (context, continuation), the log-likelihoods by direction that an answer is made of.

    Source: reverse is "reverse thinking" with a uniform prior of arXiv 2502.18435, a channel model of
    arXiv 2108.04106; adding it to the direct model with a weight is arXiv 1908.05731.
    """

    def __init__(
        self, lm: LanguageModel, reading: QuestionReading, *, weight: float = 1.0, batch_size: int = 4
    ) -> None:
        tokenizer = copy.deepcopy(lm.tokenizer)
        self.trained_with_begin = bool(lm.facts)
        if self.trained_with_begin:
            if tokenizer.bos_token_id is None:
                tokenizer.bos_token = lm.begin
            tokenizer.add_bos_token = True
        self.layout, self.reading, self.weight = lm.layout, reading, weight
        self.too_long: dict[Direction, set[tuple[str, str]]] = {d: set() for d in DIRECTIONS[reading]}
        self.parts: dict[tuple[str, str], dict[Direction, float]] = defaultdict(dict)
        super().__init__(
            pretrained=lm.model,
            backend="causal",
            tokenizer=tokenizer,
            batch_size=batch_size,
            add_bos_token=True if self.trained_with_begin else None,
        )
        # What the tokenizer puts before a text by itself: no part of the stream that is turned.
        self._added: list[int] = self.tok_encode("")

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Answer]:  # noqa: ARG002 -- the bar is ours
        """As HFLM's, under a progress bar that says the direction."""
        return cast(list[Answer], super().loglikelihood(requests, disable_tqdm=True))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """As HFLM's, forward only: running text is scored in both directions by revlm.score."""
        self._refuse("the loss of running text", "python -m revlm.score")
        return cast(list[float], super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """As HFLM's, forward only."""
        self._refuse("text written by the model", "python -m revlm.generate")
        return cast(list[str], super().generate_until(requests, disable_tqdm=disable_tqdm))

    def _refuse(self, what: str, instead: str) -> None:
        if self.reading is not QuestionReading.forward:
            raise UserError(
                f"direction={self.reading.value}: a task asks for {what}: use direction=forward, or {instead}."
            )

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Answer]:
        """Log-likelihood, and whether the scored part is the greedy one, of requests that are token ids."""
        if any(strings is None for strings, _, _ in requests):
            # Windows of running text, which come one batch at a time.
            return cast(list[Answer], super()._loglikelihood_tokens(requests, disable_tqdm, override_bs))
        total = np.zeros(len(requests))
        greedy = np.ones(len(requests), dtype=bool)
        for direction in DIRECTIONS[self.reading]:
            turned = self._forward(requests) if direction is Direction.FORWARD else self._reverse(requests)
            answers = self._score(turned, direction)
            for (strings, _, _), (value, _) in zip(requests, answers, strict=True):
                self.parts[strings][direction] = value
            combined = self.reading is QuestionReading.combined and direction is Direction.REVERSE
            total += (self.weight if combined else 1.0) * np.array([value for value, _ in answers])
            greedy &= np.array([is_greedy for _, is_greedy in answers], dtype=bool)
        return list(zip(total.tolist(), greedy.tolist(), strict=True))

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """As HFLM's, but an answer that runs together with the question's end into one token is encoded by itself.

        HFLM takes for the answer what the whole has more tokens than the question: nothing there, and so certain.
        """
        question, answer = super()._encode_pair(context, continuation)
        if not answer:
            answer = self.tok_encode(continuation, add_special_tokens=False)
        if not answer:
            raise UserError(f"the answer {continuation!r} to {context[-80:]!r} has no token: give it a text.")
        return question, answer

    def _score(self, requests: list[Request], direction: Direction) -> list[Answer]:
        """HFLM's own loop over requests as they are; a question without text is certain, whatever its answer."""
        asked = [request for request in requests if request[2]]
        with track(f"{direction} choices", len(asked), "choices", lines=True) as bar:
            self.set_cache_hook(_Progress(bar))
            answers = iter(super()._loglikelihood_tokens(asked, disable_tqdm=True))
        self.set_cache_hook(CacheHook(None))
        return [next(answers) if request[2] else (0.0, True) for request in requests]

    def _forward(self, requests: list[Request]) -> list[Request]:
        """HFLM's requests; an answer that no context could hold loses its end, where HFLM would stop."""
        rows = []
        for strings, context, answer in requests:
            start = context
            if self.trained_with_begin:
                start = self.layout.head(Direction.FORWARD) + self._body(strings, context)
            if len(start) + len(answer) > self.max_length + 1:
                self.too_long[Direction.FORWARD].add(strings)
            rows.append((strings, start, answer[: self.max_length]))
        return rows

    def _reverse(self, requests: list[Request]) -> list[Request]:
        """Requests that ask for the question given the answer.

        A question that does not fit with its longest choice loses its beginning, which reverse reads
        last, by as much for every choice: they compare only over the same tokens of the question.
        """
        head = self.layout.head(Direction.REVERSE)
        room = self.max_length + 1 - len(head)
        longest: dict[str, int] = defaultdict(int)
        for strings, _, answer in requests:
            longest[strings[0]] = max(longest[strings[0]], len(answer))
        rows = []
        for strings, context, answer in requests:
            question = self._body(strings, context)
            kept = max(1, room - longest[strings[0]])
            if len(question) > kept or len(answer) > room - 1:
                self.too_long[Direction.REVERSE].add(strings)
            rows.append((strings, head + self._turned(answer[: room - 1]), self._turned(question[-kept:])))
        return rows

    def _body(self, strings: tuple[str, str], context: list[int]) -> list[int]:
        """The question's own ids, without what lm-eval or the tokenizer put before it."""
        if not strings[0]:
            return []
        added = len(self._added)
        return context[added:] if added and context[:added] == self._added else context

    def _turned(self, ids: list[int]) -> list[int]:
        return list(self.layout.orient(np.asarray(ids, dtype=np.int64), Direction.REVERSE).tolist())


class _Progress(CacheHook):
    """lm-eval tells its cache of each request that is done; here a bar listens instead."""

    def __init__(self, bar: Any) -> None:
        super().__init__(None)
        self.bar = bar

    def add_partial(self, attr: str, req: Any, res: Any) -> None:  # noqa: ARG002 -- lm-eval's signature
        self.bar.update()


@dataclass(frozen=True)
class Evaluation:
    """What lm-eval says of one model in one direction.

    Attributes:
        results: lm-eval's own dictionary as plain values, without samples.
        samples: by task, one compact record a question.
        too_long: by task and direction, questions of which a part was cut to fit the context.
    """

    results: dict[str, Any]
    samples: dict[str, list[dict[str, Any]]]
    too_long: dict[str, dict[str, int]]


def evaluate_model(
    lm: LanguageModel, tasks: Sequence[Task | Group], reading: QuestionReading, options: EvaluateConfig
) -> Evaluation:
    """One model in one direction over the tasks that `load_tasks` made for it."""
    adapter = DirectionalHFLM(lm, reading, weight=options.direction.weight, batch_size=options.batch_size)
    with _no_commit_of_the_working_folder():
        results = lm_eval.simple_evaluate(
            adapter,
            tasks=list(tasks),
            task_manager=TaskManager(include_defaults=False),
            num_fewshot=options.num_fewshot,
            batch_size=options.batch_size,
            limit=options.limit,
            bootstrap_iters=options.bootstrap,
            **dict.fromkeys(SEEDS, options.seed),
        )
    logged = results.pop("samples")
    return Evaluation(
        results=json.loads(json.dumps(results, default=handle_non_serializable)),
        samples={task: [_record(sample, adapter) for sample in rows] for task, rows in logged.items()},
        too_long={task: _too_long(rows, adapter) for task, rows in logged.items()},
    )


@contextmanager
def _no_commit_of_the_working_folder() -> Iterator[None]:
    """lm-eval asks git for the commit of whatever folder it runs in, and git complains where there is none."""
    ask = evaluator.get_git_commit_hash
    evaluator.get_git_commit_hash = lambda: None
    try:
        yield
    finally:
        evaluator.get_git_commit_hash = ask


def _record(sample: dict[str, Any], adapter: DirectionalHFLM) -> dict[str, Any]:
    """A question as samples_TASK.jsonl holds it: enough to pair arms and to choose another weight."""
    record = {
        "doc_id": sample["doc_id"],
        "question": sample["doc_hash"][:16],
        "gold": sample["target"],
        **{metric: sample[metric] for metric in sample["metrics"]},
    }
    pairs = [tuple(arguments) for arguments in sample["arguments"]]
    if all(pair in adapter.parts for pair in pairs):
        for direction in DIRECTIONS[adapter.reading]:
            record[f"loglikelihood_{direction}"] = [adapter.parts[pair][direction] for pair in pairs]
    return cast(dict[str, Any], json.loads(json.dumps(record, default=handle_non_serializable)))


def _too_long(rows: list[dict[str, Any]], adapter: DirectionalHFLM) -> dict[str, int]:
    return {
        direction.value: sum(any(tuple(pair) in cut for pair in row["arguments"]) for row in rows)
        for direction, cut in adapter.too_long.items()
    }
