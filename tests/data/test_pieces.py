"""Long texts have the same ids in pieces as in one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from revlm.data import pieces
from revlm.data.pieces import Cutter, Encoder
from revlm.data.tokens import BOS, plain_tokenizer, train_bpe

SAID = (
    "the of and a I in to is 1 23 4567 don't we'll x_y _z e\u0301te\u0301 na\u00efve Stra\u00dfe \u0130stanbul "
    "\u0447\u0430\u0441 \u044f\u043a\u0438\u0439 \u0628\u064e\u064a\u0652\u062a \u05d1\u05d9\u05ea \u0939\u093f\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 \uac00\ub098\ub2e4 \u1112\u1161\u11ab "
    "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c \u6211\u4eec\u53bb\u516c\u56ed\u5427\u3002 \u65e5\u672c\u8a9e\u3067\u3059\u3002 \uff21\uff22\uff23 \u00b2 \u2167 \ufb01n "
    "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 ... , . ! ; : \"'( )- -- http://a.b/c?d=e <s> </s> <unk> [CLS] [SEP] "
    "<|reverse|> <half tok tok mark \u2581 \u2581a \u0120 ##s"
)
WORDS = [*SAID.split(), BOS, "b c"]
GAPS = [" ", " ", " ", " ", "", "\n", "\n\n", "  ", "     ", " \n", "\n ", "\t", "\r\n", "\u00a0", "\u2028", "\u3000", " \u0301"]  # fmt: skip
GPT2, BERT = pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.BertPreTokenizer()
LLAMA3 = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA2 = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
CLEAN = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
TEXTS = st.lists(
    st.tuples(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), st.sampled_from(GAPS)),
    min_size=20,
    max_size=60,
).map(lambda parts: "".join(word + gap for word, gap in parts))
TRAINED_ON = [gap.join(WORDS) for gap in GAPS for _ in range(3)]


def byte_level(*first):
    return pre_tokenizers.Sequence(
        [*first, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def trained(model, trainer, splitter=None, normalizer=None):
    core = Tokenizer(model)
    if splitter is not None:
        core.pre_tokenizer = splitter
    if normalizer is not None:
        core.normalizer = normalizer
    core.train_from_iterator(TRAINED_ON, trainer)
    core.encode_special_tokens = True
    return core


def bpe(splitter, normalizer=None, **options):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=alphabet, special_tokens=[BOS, "<s>", "<unk>"]
    )
    return trained(models.BPE(**options), trainer, splitter, normalizer)


def unigram(splitter):
    trainer = trainers.UnigramTrainer(
        vocab_size=400, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "<s>"]
    )
    return trained(models.Unigram(), trainer, splitter, CLEAN)


def bert():
    specials = ["[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=600, show_progress=False, special_tokens=specials)
    return trained(models.WordPiece(unk_token="[UNK]"), trainer, BERT, normalizers.BertNormalizer())


def llama2():
    """Its vocabulary has spaces in front of words only, and it has no step that cuts words."""
    core = bpe(pre_tokenizers.Metaspace(), unk_token="<unk>", fuse_unk=True)
    core.pre_tokenizer, core.normalizer = pre_tokenizers.Sequence([]), LLAMA2
    return core


def gemma():
    core = bpe(pre_tokenizers.Metaspace(prepend_scheme="never"), unk_token="<unk>", fuse_unk=True)
    core.normalizer = normalizers.Replace(" ", "\u2581")
    core.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return core


def with_added(*tokens):
    core = bpe(GPT2)
    core.add_tokens(list(tokens))
    return core


CUT = {
    "ours": lambda: plain_tokenizer(train_bpe(TRAINED_ON, 600)),
    "SmolLM2": lambda: bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])),
    "Llama 3": lambda: bpe(byte_level(pre_tokenizers.Split(LLAMA3, "isolated")), normalizers.NFC()),
    "prefix space": lambda: bpe(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "BERT": bert,
    "metaspace first": lambda: bpe(pre_tokenizers.Metaspace(prepend_scheme="first")),
    "metaspace never": lambda: bpe(pre_tokenizers.Metaspace(prepend_scheme="never")),
    "Unigram": lambda: unigram(pre_tokenizers.Metaspace()),
    "Llama 2": llama2,
    "Gemma": gemma,
    "rstrip": lambda: with_added(AddedToken("tok", rstrip=True), AddedToken("mark", rstrip=True)),
    "lstrip": lambda: with_added(AddedToken("the", lstrip=True), AddedToken("of", single_word=True)),
}
WHOLE = {
    "pairs of words": lambda: bpe(byte_level(pre_tokenizers.Split(Regex(r"\S+\s\S+"), "isolated"))),
    "merges across spaces": lambda: bpe(pre_tokenizers.Split("\t", "isolated")),
    "Unigram without words": lambda: unigram(pre_tokenizers.Split("\t", "isolated")),
    "dropout": lambda: bpe(GPT2, dropout=0.1),
}


@pytest.fixture
def short(monkeypatch):
    """Pieces of a few words."""
    monkeypatch.setattr(pieces, "PIECE", 24)
    monkeypatch.setattr(pieces, "AT_ONCE", 64)


@pytest.fixture(scope="module")
def encoders():
    """One encoder of each kind of tokenizer."""
    return {name: Encoder(make()) for name, make in {**CUT, **WHOLE}.items()}


@pytest.mark.parametrize("name", CUT)
def test_pieces_have_the_ids_of_the_whole_text(name, encoders, short):
    """Whatever the script, the white space, the emoji, or the special tokens that a text spells."""
    encoder = encoders[name]

    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(TEXTS)
    def law(text):
        assert next(encoder([text])).tolist() == encoder.core.encode(text, add_special_tokens=False).ids

    law()


@pytest.mark.parametrize("name", CUT)
def test_plain_text_is_cut(name, encoders, short):
    """Every usual kind of tokenizer can be cut somewhere."""
    assert len(list(encoders[name].cutter.pieces("some words in a row " * 20))) > 5


@pytest.mark.parametrize("name", WHOLE)
def test_a_tokenizer_that_looks_across_words_gets_whole_texts(name, encoders, short):
    """Where equal ids cannot be shown, nothing is cut."""
    text = "some words in a row, and more of them\nthan one piece " * 20
    assert list(encoders[name].cutter.pieces(text)) == [text]


def test_a_token_that_holds_a_space_forbids_cuts_between_words(short):
    """An added token is found before words are: wherever it may stand, no cut may go through it."""
    cutter = Cutter(with_added("b c"))
    assert not any(place.pattern is pieces.BETWEEN_WORDS for place in cutter.places)


@pytest.mark.parametrize(
    ("name", "text"), [("ours", "\u5929\u6c14\u3002" * 200), ("BERT", "\u5929\u6c14" * 300)]
)
def test_text_without_spaces_is_cut_at_marks_or_between_ideographs(name, text, encoders, short):
    """Chinese has no spaces; what the tokenizer separates is cut, with equal ids."""
    encoder = encoders[name]
    assert len(list(encoder.cutter.pieces(text))) > 5
    assert next(encoder([text])).tolist() == encoder.core.encode(text, add_special_tokens=False).ids


def test_one_endless_word_stays_whole(encoders, short):
    """There is no place to cut it."""
    assert list(encoders["ours"].cutter.pieces("a" * 5000)) == ["a" * 5000]


def test_ids_come_text_by_text(encoders, short):
    """Short, long and empty texts, in order and whole."""
    encoder, texts = encoders["ours"], ["", "a", "many words in a row " * 30, "", "the end"]
    found = list(encoder(texts, np.uint16))
    assert [ids.tolist() for ids in found] == [encoder.core.encode(text).ids for text in texts]
    assert {ids.dtype for ids in found} == {np.dtype(np.uint16)}


def test_a_bpe_learns_the_same_from_pieces(corpus, monkeypatch):
    """Training in pieces gives the very tokenizer that whole texts give."""
    texts = [*corpus.dataset["text"][:40], *TRAINED_ON]
    whole = train_bpe(texts, 500).backend_tokenizer.to_str()
    monkeypatch.setattr(pieces, "PIECE", 50)
    assert train_bpe(texts, 500).backend_tokenizer.to_str() == whole
