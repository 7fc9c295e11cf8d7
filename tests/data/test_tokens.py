"""Tokenizers and the token store."""

import subprocess
import sys

import numpy as np
import pytest
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from revlm.data.split import split_mask
from revlm.data.tokens import (
    BOS,
    begin_id,
    build_store,
    load_tokenizer,
    tokenizer_fingerprint,
    train_bpe,
    unit_starts,
)
from revlm.direction import Direction, boundary_units, orient
from revlm.errors import UserError

HARD_TEXTS = [
    "今天天气很好,我们去公园吧。",
    "كَتَبَ الطالِبُ الدَّرسَ.",
    "family 👩‍👩‍👧‍👦 and flag 🏳️‍🌈!",
    "e\u0301te\u0301 na\u0308ive Zalgo h\u0335\u0321e\u0334",
    "tabs\tand\r\nlines\u2028 and \u200dinvisible",
]


def dataset_of(texts):
    return Dataset.from_dict({"doc_id": [f"d{i}" for i in range(len(texts))], "text": texts})


def store_of(texts, tokenizer, cache_dir, held_out=None):
    held_out = np.zeros(len(texts), dtype=bool) if held_out is None else held_out
    return build_store(
        dataset_of(texts), held_out, tokenizer, corpus_fingerprint=str(texts), cache_dir=cache_dir
    )


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_text_comes_back_in_reading_order(text, tokenizer, tmp_path):
    """Ids put back into text order decode to the very text, whatever the script."""
    ids = store_of([text, "x y z"], tokenizer, tmp_path).document(0)
    shown = orient(orient(ids, Direction.REVERSE), Direction.REVERSE)
    assert tokenizer.decode(shown.tolist()) == text


def test_documents_are_tokenised_before_they_are_reversed(tokenizer, tmp_path):
    """A reverse row holds the document's own ids backwards, not the ids of the backward text."""
    text = "The quick brown fox jumps over the lazy dog."
    ids = store_of([text, text[::-1]], tokenizer, tmp_path)
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert orient(ids.document(0), Direction.REVERSE).tolist() == expected[::-1]
    assert ids.document(1).tolist() != expected[::-1]


def test_text_that_spells_a_special_token_stays_text(tokenizer, tmp_path):
    """No document can write a BOS into a row."""
    ids = store_of([f"before {BOS} after"], tokenizer, tmp_path).document(0)
    assert begin_id(tokenizer) not in ids.tolist()
    assert tokenizer.decode(ids.tolist()) == f"before {BOS} after"


def test_store_equals_tokenising_each_document(store, corpus, tokenizer):
    """The memory-mapped ids are those of the tokenizer, document by document."""
    for d in range(0, len(store), 37):
        text = corpus.dataset[int(store.rows[d])]["text"]
        assert store.document(d).tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert isinstance(store.ids, np.memmap)
    assert store.ids.dtype == np.uint16


def test_a_store_that_lost_its_end_is_refused(tokenizer, tmp_path):
    """A truncated file of ids is named, not read as shorter documents."""
    store_of(["one document", "and another one"], tokenizer, tmp_path)
    ids = next(tmp_path.rglob("ids.bin"))
    ids.write_bytes(ids.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"is damaged .* remove it and start again"):
        store_of(["one document", "and another one"], tokenizer, tmp_path)


def test_words_are_found_where_pieces_mark_spaces_by_an_underline(corpus):
    """SentencePiece tokenizers drop the leading space when a single piece is decoded."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    core.train_from_iterator(
        corpus.dataset["text"][:50], trainers.BpeTrainer(vocab_size=400, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core)
    ids = np.array(tokenizer("the company and the man", add_special_tokens=False)["input_ids"])
    begins_word, _ = unit_starts(tokenizer)
    assert len(boundary_units(begins_word[ids])) == 5


def test_documents_of_one_token_are_counted_and_skipped(tokenizer, tmp_path):
    """A window of one token has nothing to reverse."""
    store = store_of(["a", "long enough to stay", "b"], tokenizer, tmp_path)
    assert (len(store), store.skipped, store.rows.tolist()) == (1, {"one token": 2}, [1])


def test_a_corpus_of_nothing_but_short_documents_is_refused(tokenizer, tmp_path):
    """Nothing to train on is an error, and leaves no half-built store."""
    with pytest.raises(UserError, match="no document of two tokens"):
        store_of(["a", "b"], tokenizer, tmp_path)
    assert [p.name for p in (tmp_path / "tokens").iterdir() if not p.name.endswith(".lock")] == []


def test_another_split_or_tokenizer_gets_another_store(corpus, tokenizer, tmp_path):
    """The key of a store covers all that it depends on."""
    texts = ["one document here", "another document there"]
    smaller = train_bpe(corpus.dataset["text"], 300)
    keys = {
        store_of(texts, tokenizer, tmp_path).fingerprint,
        store_of(texts, smaller, tmp_path).fingerprint,
        store_of(texts, tokenizer, tmp_path, np.array([True, False])).fingerprint,
        store_of(texts[:1], tokenizer, tmp_path).fingerprint,
    }
    assert len(keys) == 4


def test_bpe_never_sees_held_out_text(tmp_path):
    """A word that stands in validation only does not become a piece."""
    texts = [f"plain sentence number {i} of the training text" for i in range(50)]
    held_out = split_mask(texts, 0.3)
    texts = [f"{text} zyxwzyxw zyxwzyxw" if out else text for text, out in zip(texts, held_out, strict=True)]
    seen = train_bpe((t for t, out in zip(texts, held_out, strict=True) if not out), 400)
    assert not any("zyx" in piece for piece in seen.get_vocab())


def test_a_vocabulary_that_cannot_hold_all_bytes_is_refused():
    """Below 260 pieces some text would have no ids."""
    with pytest.raises(UserError, match="set it to 260 or more"):
        train_bpe(["text"], 100)


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    """Saving and loading changes no id."""
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_fingerprint(load_tokenizer(str(tmp_path))) == tokenizer_fingerprint(tokenizer)


def test_a_missing_tokenizer_is_named(tmp_path):
    """The message holds the path and the way out."""
    with pytest.raises(UserError, match=r"no tokenizer could be read from .*nowhere.*tokenizer.path="):
        load_tokenizer(str(tmp_path / "nowhere"))


def test_words_and_sentences_are_found_from_ids_alone(tokenizer):
    """A word begins with white space, a sentence behind a full stop."""
    begins_word, ends_sentence = unit_starts(tokenizer)
    ids = np.array(tokenizer("Some words. More of them.", add_special_tokens=False)["input_ids"])
    words = np.split(ids, np.cumsum(boundary_units(begins_word[ids]))[:-1])
    assert [tokenizer.decode(w.tolist()) for w in words] == ["Some", " words.", " More", " of", " them."]
    assert [tokenizer.decode([i]) for i in ids[ends_sentence[ids]]] == [".", "."]


def test_taken_documents_stand_in_the_order_given(store):
    """`take` gives the ids of the documents that were asked for, or of none."""
    numbers = np.array([5, 0, 5])
    taken = store.take(numbers)
    assert [taken.document(i).tolist() for i in range(3)] == [store.document(n).tolist() for n in numbers]
    assert (len(store.take(numbers[:0])), taken.ids.dtype) == (0, np.int64)


@pytest.mark.process
def test_two_processes_build_one_store(tmp_path):
    """Whoever comes second waits and opens what the first has built."""
    program = f"""
import numpy as np
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from pathlib import Path
from revlm.data.tokens import build_store, train_bpe
texts = [f"document number {{i}} with some words" * 50 for i in range(400)]
data = Dataset.from_dict({{"doc_id": [str(i) for i in range(400)], "text": texts}})
store = build_store(data, np.zeros(400, bool), train_bpe(texts, 300), corpus_fingerprint="x",
                    cache_dir=Path({str(tmp_path)!r}))
print(store.fingerprint, int(store.ids.astype(np.int64).sum()))
"""
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert said[0] == said[1] != ""
    assert len([p for p in (tmp_path / "tokens").iterdir() if p.is_dir()]) == 1
