"""`python -m revlm.generate`: what a user asks for and sees."""

import gzip
import json
import shutil

import pytest

from revlm.config import CacheConfig, GenerateConfig, ModelSource, Reading, ReadingConfig
from revlm.errors import UserError
from revlm.generate import generate
from revlm.models.backbone import export
from revlm.models.language_model import LanguageModel


@pytest.fixture(scope="module")
def circling(circling_lm, tokenizer, tmp_path_factory):
    """Folder of a model that has learned " a b c d" and 今天很好 as circles, in both directions."""
    folder = tmp_path_factory.mktemp("circling") / "model"
    export(circling_lm, tokenizer, folder, {"directions": ["forward", "reverse"], "window": 16})
    return folder


@pytest.fixture(scope="module")
def forward_only(circling, tmp_path_factory):
    """The same model, which says that it was trained forward."""
    folder = tmp_path_factory.mktemp("forward") / "model"
    shutil.copytree(circling, folder)
    (folder / "revlm.json").write_text(json.dumps({"directions": ["forward"], "window": 16}))
    return folder


@pytest.fixture
def run(cache_dir, capsys):
    """Generate in this process and give what is printed."""

    def generated(model, direction="forward", **options):
        config = GenerateConfig(
            model=ModelSource(path=str(model), device="cpu"),
            direction=ReadingConfig(Reading(direction)),
            cache=CacheConfig(str(cache_dir)),
            **({"num_tokens": 8, "temperature": 0} | options),
        )
        generate(config)
        return capsys.readouterr().out

    return generated


@pytest.mark.parametrize(
    ("direction", "text"), [("forward", " c d a b c d a b c"), ("reverse", " d a b c d a b c d")]
)
def test_text_is_shown_in_reading_order(circling, run, direction, text):
    """Of a circle a, b, c, d: forward goes on behind "c d" with what follows, reverse ends with it."""
    assert run(circling, direction, text=" c d", num_tokens=7) == f"{text}\n"


def test_characters_of_several_bytes_are_shown_whole(circling, run):
    """A reverse model writes the bytes of a character last to first; the terminal shows the character."""
    assert run(circling, "reverse", text="很好", num_tokens=12) == "很好今天很好\n"


def test_the_prompt_can_be_marked(circling, run):
    """mark=true tells what was given from what was written."""
    assert run(circling, "reverse", text=" c d", num_tokens=3, mark=True) == " d a b[ c d]\n"
    assert run(circling, "forward", text=" c d", num_tokens=3, mark=True) == "[ c d] a b c\n"


def test_several_texts_stand_under_a_line_each(circling, run, tmp_path):
    """One prompt a line, samples with seeds of their own; a single text stands alone."""
    (tmp_path / "prompts.txt").write_text(" a b\n\n c d\n", encoding="utf-8")
    out = run(circling, file=str(tmp_path / "prompts.txt"), samples=2, seed=5, temperature=0.01)
    headers = [line for line in out.splitlines() if line.startswith("---")]
    assert headers == [f"--- prompt {p} of 3, seed {s}" for p in (1, 2, 3) for s in (5, 6)]
    assert out.count(" a b c d a b c d a b\n") == 2
    assert "---" not in run(circling, text=" a")


def test_samples_are_those_of_their_seeds(circling, run):
    """samples=3 seed=4 writes what seeds 4, 5 and 6 write one by one."""
    options = {"text": "x", "temperature": 3.0, "num_tokens": 6}
    alone = [run(circling, seed=seed, **options).removesuffix("\n") for seed in (4, 5, 6)]
    together = run(circling, seed=4, samples=3, **options)
    assert len(set(alone)) == 3
    assert together == "".join(f"--- prompt 1 of 1, seed {4 + i}\n{text}\n" for i, text in enumerate(alone))


def test_texts_go_to_a_file_when_asked(circling, run, tmp_path):
    """One JSON object a text: prompt and written make up the text; the terminal shows the file's name."""
    (tmp_path / "prompts.txt").write_text(" c d\n很好", encoding="utf-8")
    out = tmp_path / "new" / "texts.jsonl"
    printed = run(circling, "reverse", file=str(tmp_path / "prompts.txt"), out=str(out))
    assert printed == f"{out}\n"
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == [" c d", "很好"]
    assert all(row["text"] == row["written"] + row["prompt"] for row in rows)
    assert {(row["direction"], row["seed"]) for row in rows} == {("reverse", 0)}


def test_three_lines_of_python_do_the_same(circling, run):
    """LanguageModel.open(...).write(...) writes what the command writes, with its defaults too."""
    lm = LanguageModel.open(str(circling), device="cpu")
    defaults = {"num_tokens": 20, "temperature": GenerateConfig().temperature, "seed": 3}
    assert lm.write(" c", direction="reverse", num_tokens=20, seed=3) + "\n" == run(
        circling, "reverse", text=" c", **defaults
    )


def test_a_direction_that_was_not_trained_is_refused_unless_allowed(forward_only, run):
    """The message names model and directions; allow=true is how the pretrained bias is looked at."""
    with pytest.raises(UserError, match=r"was trained forward, not reverse: set allow=true"):
        run(forward_only, "reverse", text=" c d")
    assert run(forward_only, "reverse", text=" c d", allow=True).endswith(" c d\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"say what to write from: text="),
        ({"text": "a", "file": "b"}, r"not both"),
        ({"file": "nowhere.txt"}, r"file=nowhere.txt: there is no such file"),
        ({"text": "a", "samples": 2}, r"samples=2 with temperature=0 would write the same text 2 times"),
        ({"text": "a", "num_tokens": 0}, r"num_tokens=0: set it to 1 or more"),
        ({"text": "a", "top_p": 0.0}, r"top_p=0.0: a share of probability above 0"),
        ({"text": "a", "temperature": -1.0}, r"temperature=-1.0: set it to 0 or more"),
        ({"text": " a" * 30}, r"30 tokens and num_tokens=8 need 39 positions .* has 33: set num_tokens= to 2 or less"),
        ({"text": " a" * 40}, r"the model has 33: shorten the prompt"),
        ({"text": "a\0b"}, r"text=: NUL character at offset 1"),
        ({"text": "a\udcffb"}, r"text=: lone surrogate U\+DCFF at offset 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_the_way_out(circling, run, options, message):
    """What is wrong, where, and what to write instead."""
    with pytest.raises(UserError, match=message):
        run(circling, **options)


@pytest.mark.parametrize("path", [None, "", ["a", "b"]])
def test_one_model_is_named(path):
    """A list of models is for scoring."""
    with pytest.raises(UserError, match="name one model"):
        generate(GenerateConfig(model=ModelSource(path=path), text="a"))


def test_a_file_that_is_no_text_is_named_with_its_place(circling, run, tmp_path):
    """Bytes that are not UTF-8, and characters that no text holds."""
    (tmp_path / "bad.txt").write_bytes(b"good\n\xff\n")
    with pytest.raises(UserError, match=r"bad.txt: invalid UTF-8 at byte 5"):
        run(circling, file=str(tmp_path / "bad.txt"))
    (tmp_path / "nul.txt").write_bytes(b"good\na\0\n")
    with pytest.raises(UserError, match=r"nul.txt, line 2: NUL character"):
        run(circling, file=str(tmp_path / "nul.txt"))


def test_prompts_are_read_as_corpora_are(circling, run, tmp_path):
    """A byte order mark, line ends of Windows and compression are no part of a prompt."""
    (tmp_path / "p.txt.gz").write_bytes(gzip.compress("\ufeff a b\r\n c d\r\n".encode()))
    out = tmp_path / "out.jsonl"
    run(circling, file=str(tmp_path / "p.txt.gz"), out=str(out))
    assert [json.loads(line)["prompt"] for line in out.read_text().splitlines()] == [" a b", " c d"]


@pytest.mark.process
def test_prose_reaches_the_model_as_it_stands(tiny_lm, tokenizer, revlm_command, tmp_path):
    """Commas, quotes, brackets, dollars, line breaks: no shell-like grammar stands between."""
    prompt = ' It\'s "odd", {a: [1]} ${x} = \\ 今天 👩‍👩‍👧‍👦\n end,'
    export(tiny_lm, tokenizer, tmp_path / "model", {"directions": ["reverse"], "window": 129})
    run = revlm_command(
        "generate", "model=model", "direction=reverse", "num_tokens=2", f"text={prompt}", cwd=tmp_path
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith(prompt + "\n")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.process
def test_a_model_on_the_hub_keeps_its_directions(circling, revlm_command, tmp_path):
    """revlm.json is found beside the weights of a hub id: no network is needed for what is cached."""
    cached = tmp_path / "models--owner--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    shutil.copytree(circling, cached / "snapshots" / ("0" * 40))
    options = ("model=owner/name", "direction=reverse", "text= c d", "num_tokens=2", "temperature=0")
    run = revlm_command("generate", *options, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert (run.stdout, run.returncode) == (" a b c d\n", 0), run.stderr


@pytest.mark.process
def test_a_mistake_is_one_line(circling, revlm_command, tmp_path):
    """Exit code 2, no traceback."""
    run = revlm_command("generate", f"model={circling}", "direction=sideways", "text=a", cwd=tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "'sideways', expected one of [forward, reverse]" in run.stderr
