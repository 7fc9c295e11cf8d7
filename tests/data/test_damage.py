"""Damaged copies: known in kind and amount, the same everywhere, beside their originals."""

from collections import Counter
from difflib import SequenceMatcher

import pytest

from revlm.config import Damage, DataConfig, Part
from revlm.data.corpus import load_corpus
from revlm.data.damage import LEVELS, SENTENCE, damage, damaged
from revlm.data.document import Document

KINDS = list(Damage)
SHUFFLES = [Damage.word_shuffle, Damage.sentence_shuffle]


@pytest.fixture(scope="module")
def documents(cache_dir):
    """Held-out real documents of two domains."""
    data = DataConfig(domains=["bbc_news", "wikipedia"], part=Part.held_out, max_bytes_per_domain=20_000)
    return [Document(**row) for row in load_corpus(data, cache_dir).dataset]


@pytest.mark.parametrize("kind", KINDS)
def test_more_damage_leaves_less_of_the_text(documents, kind):
    """On average each level is further from the original than the one before."""
    shares = []
    for share in LEVELS[kind]:
        kept = [
            SequenceMatcher(
                a=d.text.split(), b=damage(d.text, kind, share, key=d.doc_id).split(), autojunk=False
            ).ratio()
            for d in documents
        ]
        shares.append(sum(kept) / len(kept))
    assert 1 > shares[0] > shares[1] > shares[2]


@pytest.mark.parametrize("kind", SHUFFLES)
def test_shuffling_loses_no_word(documents, kind):
    """The words stay, and so does all white space."""
    for document in documents:
        text = damage(document.text, kind, 1.0, key=document.doc_id)
        assert Counter(text.split()) == Counter(document.text.split())
        assert len(text) == len(document.text)


def test_repetition_says_nothing_new(documents):
    """Every sentence of a repeating copy stands in its original, in fewer different ones."""
    for document in documents:
        before = SENTENCE.findall(document.text)
        after = SENTENCE.findall(damage(document.text, Damage.repetition, 0.6, key=document.doc_id))
        assert set(after) <= set(before)
        assert len(after) == len(before)
        assert len(before) < 3 or len(set(after)) < len(set(before))


def test_a_scanner_misreads_the_share_that_was_asked_for(documents):
    """About one character in twenty is taken for another or lost."""
    text = "\n".join(document.text for document in documents)
    misread = damage(text, Damage.ocr, 0.05, key="a")
    blocks = SequenceMatcher(a=text[:4000], b=misread[:4000], autojunk=False).get_matching_blocks()
    assert 4000 - sum(block.size for block in blocks) == pytest.approx(200, rel=0.4)


def test_copies_stand_behind_their_original_and_say_what_they_are(documents):
    """Ids and labels name kind and level; the same seed gives the same copies, another one others."""
    made = list(damaged(documents[:3], KINDS, 0))
    assert made[0] == documents[0]._replace(label="clean")
    assert [d.label for d in made[1:4]] == ["word_shuffle/1", "word_shuffle/2", "word_shuffle/3"]
    assert made[1].doc_id == f"{documents[0].doc_id}#word_shuffle/1"
    assert made == list(damaged(documents[:3], KINDS, 0))
    assert made != list(damaged(documents[:3], KINDS, 1))


def test_a_corpus_carries_its_copies(cache_dir, documents):
    """Caps and parts speak of the originals, which are all there beside their copies."""
    data = DataConfig(
        domains=["bbc_news", "wikipedia"],
        part=Part.held_out,
        max_bytes_per_domain=20_000,
        damage=[Damage.ocr],
    )
    dataset = load_corpus(data, cache_dir).dataset
    clean = [row["doc_id"] for row in dataset if row["label"] == "clean"]
    assert clean == [document.doc_id for document in documents]
    assert len(dataset) == pytest.approx(4 * len(clean), rel=0.05)


def test_one_sentence_has_no_other_order():
    """A copy equal to its original is left out; so is one that holds nothing."""
    made = list(damaged([Document("a", "One sentence only.", "d", "en", None)], [Damage.sentence_shuffle], 0))
    assert [d.label for d in made] == ["clean"]
