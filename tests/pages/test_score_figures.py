"""Scoring runs as pictures."""

import json
import os
import subprocess
import sys

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest

from revlm.direction import Direction
from revlm.errors import UserError
from revlm.markup import shown
from revlm.pages.drawing import COLOURS
from revlm.pages.scores.captions import crossing_words, crossings_finding, spread_of
from revlm.pages.scores.figures import are_drawn, curves_by_domain_figure, draw_scores, spread_figure
from revlm.pages.scores.panels import agreement_figure, confounds_figure
from revlm.pages.scores.run import mean_s, read_score_run, score_table
from revlm.scores.agreement import gather
from tests.pages.test_run_figures import words
from tests.scores.score_folders import documents, plain_s, write_score_run

THIRTEEN = [f"domain {number:02d}" for number in range(13)]


@pytest.fixture(scope="module")
def columns(corpus):
    """Real texts of three domains, a few times over."""
    return documents(corpus, times=4)


@pytest.fixture
def run(columns, tmp_path):
    return read_score_run(write_score_run(tmp_path / "run", columns))


@pytest.fixture
def several(columns, tmp_path):
    """Three models' runs as one, the last of another size."""
    shared, rng = plain_s(columns), np.random.default_rng(0)
    folders = {
        name: write_score_run(
            tmp_path / "all" / "models" / name, columns, shared + rng.normal(0, 0.05, len(shared)), seed=seed,
            about={"model": name, "parameters": 1 + seed // 2},
        )
        for seed, name in enumerate(("tiny_0", "tiny_1", "large"))
    }  # fmt: skip
    gather(folders, tmp_path / "all")
    return tmp_path / "all"


def medians(figure):
    """Where the median of each row of a chart of S stands, from the top."""
    return [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linewidth() == 1.4]


def test_a_run_draws_its_pictures(run):
    """Three PNGs appear in the run's folder, with something on them and no leftovers."""
    drawn = draw_scores(run.folder)
    names = ["confounds.png", "curves_by_domain.png", "s_by_domain.png"]
    assert sorted(path.name for path in (run.folder / "figures").iterdir()) == names
    assert all(mpl.image.imread(path).std() > 0.05 for path in drawn)


def test_a_finished_run_is_drawn_once(run):
    """Pictures stand for a run until its scores are newer."""
    assert not are_drawn(read_score_run(run.folder))
    draw_scores(run.folder)
    assert are_drawn(read_score_run(run.folder))
    later = (run.folder / "figures" / "confounds.png").stat().st_mtime + 10
    os.utime(run.folder / "score.json", (later, later))
    assert not are_drawn(read_score_run(run.folder))


def test_several_models_draw_their_agreement(several):
    """Several models have a picture of their agreement, and no curves of their own."""
    names = {path.name for path in draw_scores(several)}
    assert names == {"s_by_domain.png", "confounds.png", "agreement.png"}


@pytest.mark.process
def test_equal_files_give_equal_bytes(several):
    """Drawing again, in another process with other settings, changes no byte."""
    first = {
        path: path.read_bytes()
        for folder in (several, several / "models/large")
        for path in draw_scores(folder)
    }
    code = (
        "import sys, matplotlib; matplotlib.rcParams['font.size'] = 20; matplotlib.rcParams['lines.linewidth'] = 9;"
        "from revlm.pages.scores.figures import draw_scores; [draw_scores(folder) for folder in sys.argv[1:]]"
    )
    subprocess.run([sys.executable, "-c", code, str(several), str(several / "models/large")], check=True)
    assert {path: path.read_bytes() for path in first} == first


@pytest.mark.parametrize(
    ("options", "window"),
    [({"domains": ["only"]}, 64), ({"domains": THIRTEEN}, 64), ({"languages": ["en", "zh", "ar"]}, 64)],
    ids=["one domain", "thirteen domains", "three languages"],
)
def test_any_corpus_is_drawn(corpus, tmp_path, options, window):
    """One domain, many, or several languages give all pictures."""
    columns = documents(corpus, times=3, **options)
    drawn = draw_scores(write_score_run(tmp_path / "run", columns, window=window))
    assert [path.name for path in drawn] == ["s_by_domain.png", "confounds.png", "curves_by_domain.png"]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_few_documents_are_drawn(columns, tmp_path, count):
    """A corpus of hardly any documents gives pictures that claim nothing."""
    few = {name: values[:count] for name, values in columns.items()}
    run = read_score_run(
        write_score_run(tmp_path / "run", few, np.full(count, 0.01), window=2, crossings=False)
    )
    draw_scores(run.folder)
    assert "Too few documents to say" in words(confounds_figure(run))


def test_domains_stand_by_falling_median(columns, tmp_path):
    """The chart is sorted, its medians are those of the table, and the headline counts the sides."""
    s, domain = plain_s(columns, by_domain=0.2), np.asarray(columns["domain"])
    figure = spread_figure(read_score_run(write_score_run(tmp_path / "run", columns, s)))
    expected = sorted((float(np.median(s[domain == name])) for name in set(domain)), reverse=True)
    assert medians(figure) == pytest.approx(expected)
    above = sum(value > 0 for value in expected)
    assert f"Reverse is easier for the median document of {above} of 3 domains" in words(figure)
    assert "reverse is easier \u2192" in words(figure)


def test_every_domain_says_how_many_documents(run):
    """Each row carries the n behind it."""
    text = words(spread_figure(run))
    assert all(f"n={domain['num_documents']:,}" in text for domain in run.summary["by_domain"].values())


def test_languages_have_a_chart_of_their_own(corpus, tmp_path):
    """S by language stands below S by domain where there are several languages."""
    columns = documents(corpus, languages=["en", "zh"])
    figure = spread_figure(read_score_run(write_score_run(tmp_path / "run", columns)))
    assert {label.get_text() for label in figure.axes[1].get_yticklabels()} == {"en", "zh"}
    assert len(figure.axes) == 2


def test_interval_of_a_median_covers():
    """The interval from order statistics holds the population's median in 95% of samples or a little more."""
    rng = np.random.default_rng(0)
    found = [spread_of("", rng.standard_t(3, 40)).median for _ in range(3000)]
    assert 0.94 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.98


def test_more_domains_than_fit_are_said(corpus, tmp_path):
    """Only the largest domains are drawn, and both pictures say how many are not."""
    columns = documents(corpus, times=2, domains=[f"domain {number}" for number in range(40)])
    run = read_score_run(write_score_run(tmp_path / "run", columns, window=16))
    assert "10 smaller domains are not shown" in words(spread_figure(run))
    assert "25 smaller domains are not shown" in words(curves_by_domain_figure(run))


def test_a_confounded_picture_says_so(columns, tmp_path):
    """The headline names the strongest confound, and the panels carry r with interval and n."""
    tokens = np.log(columns["num_tokens"])
    run = read_score_run(write_score_run(tmp_path / "run", columns, 0.1 * (tokens - tokens.mean())))
    text = words(confounds_figure(run))
    assert "S goes along most with log of number of tokens (r = +1.00" in text
    assert f"n={len(tokens)}" in text


def test_a_null_picture_claims_nothing(columns, tmp_path):
    """S of chance goes along with no number for sure."""
    s = np.random.default_rng(5).normal(size=len(columns["doc_id"])) * 0.05
    run = read_score_run(write_score_run(tmp_path / "run", columns, s))
    assert "goes along with none of these numbers for sure" in words(confounds_figure(run))


def test_many_documents_are_a_density(corpus, tmp_path):
    """Thousands of documents are drawn as a density instead of dots."""
    columns = documents(corpus, times=25)
    figure = confounds_figure(read_score_run(write_score_run(tmp_path / "run", columns)))
    assert any(isinstance(item, mpl.collections.QuadMesh) for item in figure.axes[0].collections)
    assert "the outermost half per cent not shown" in words(figure)


def test_crossings_are_marked_where_the_file_says(run):
    """A dotted line stands at each recorded crossing, and never is written in words."""
    figure = curves_by_domain_figure(run)
    marks = [
        line.get_xdata()[0] for axes in figure.axes for line in axes.lines if line.get_linestyle() == ":"
    ]
    crossings = [run.intersection["all"], *run.intersection["domain"].values()]
    assert marks == [found["position"] for found in crossings if found["position"] is not None]
    assert "never cross" in words(figure)
    assert "The curves cross in 1 of 3 domains within 64 tokens: drama" in words(figure)


def test_the_corpus_and_each_domain_have_a_panel(run):
    """Panels show both directions of the whole corpus first, then of each domain."""
    figure = curves_by_domain_figure(run)
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title(loc="left") == "the whole corpus"
    for axes in figure.axes:
        strong = {line.get_color() for line in axes.lines if line.get_linewidth() == 2}
        assert strong == {COLOURS[direction] for direction in Direction}


@pytest.mark.parametrize(
    ("crossing", "text"),
    [
        ({"position": 12, "low": 9, "high": 20, "share_never": 0.0}, "cross at 12 [9, 20]"),
        (
            {"position": 12, "low": 9, "high": None, "share_never": 0.1},
            "cross at 12 [9, never], never in 10%",
        ),
        (
            {"position": None, "low": 40, "high": None, "share_never": 0.9},
            "never cross [40, never], never in 90%",
        ),
        ({"position": None, "low": None, "high": None, "share_never": 1.0}, "never cross"),
        ({"position": 0, "low": 0, "high": 3, "share_never": 0.0}, "reverse below from 0 [0, 3]"),
        ({}, "crossing not measured"),
    ],
)
def test_crossings_in_words(crossing, text):
    """Position, interval and share of never are told as recorded."""
    assert crossing_words(crossing) == text


def test_no_crossing_is_a_finding():
    """Where no domain's curves cross, the headline says so."""
    assert crossings_finding({"a": {"position": None}, "b": {"position": None}}, 64) == (
        "The curves cross in none of 2 domains within 64 tokens"
    )


def test_every_pair_of_models_has_a_panel(several):
    """Three models make three panels with r, its interval and n, and the headline tells sizes apart."""
    figure = agreement_figure(read_score_run(several))
    assert sum(axes.get_visible() for axes in figure.axes) == 3
    assert "models of one size r = " in words(figure)
    assert "models of different sizes r = " in words(figure)


def test_other_tokenizers_are_compared_by_zscores(columns, tmp_path):
    """Where tokenizers differ the picture shows z-scores and says why."""
    folders = {
        name: write_score_run(tmp_path / "models" / name, columns, about={"tokenizer_fingerprint": name})
        for name in "ab"
    }
    gather(folders, tmp_path)
    assert "tokenizers differ, so raw S does not compare" in words(agreement_figure(read_score_run(tmp_path)))


def test_the_end_of_a_run_is_told_in_a_table(run):
    """Every domain has a line with documents, both losses, s with its interval and the crossing."""
    text = score_table(run)
    whole, _ = mean_s(run)
    assert all(name in text for name in run.summary["by_domain"])
    assert f"{whole.value:+.4f} [{whole.low:+.4f}, {whole.high:+.4f}]" in text
    assert "Left out: 3 under 32 tokens." in text


def test_a_domain_called_all_is_not_the_corpus(corpus, tmp_path):
    """A domain of that name keeps its own mean in the table of domains."""
    columns = documents(corpus, domains=["all", "other"])
    s = np.where(np.asarray(columns["domain"]) == "all", 1.0, 0.0)
    run = read_score_run(write_score_run(tmp_path / "run", columns, s))
    lines = {
        line.split("|")[1].strip(): line for line in score_table(run).splitlines() if line.startswith("|")
    }
    assert "+1.0000" in lines["all"]
    assert "+0.5000" in lines["the whole corpus"]


def test_unfinished_run_says_how_to_continue(run):
    """Without score.json a scoring run is unfinished, and the line tells how to go on."""
    (run.folder / "score.json").unlink()
    with pytest.raises(UserError, match=r"no score\.json.*the same python -m revlm\.score command again"):
        draw_scores(run.folder)


@pytest.mark.parametrize("name", ["score.json", "intersection.json", "curves.csv", "scores.parquet"])
@pytest.mark.parametrize("content", ["{", "[]", "", "domain,direction\na,forward\n"])
def test_damaged_file_is_named(run, name, content):
    """A file cut short or of another form is named in one line."""
    (run.folder / name).write_text(content)
    with pytest.raises(UserError, match=name) as caught:
        draw_scores(run.folder)
    assert "\n" not in str(caught.value)


def test_summary_without_a_number_is_damaged(run):
    """A summary that lacks what every table needs is named."""
    summary = json.loads((run.folder / "score.json").read_text())
    del summary["by_domain"]
    (run.folder / "score.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match=r"score\.json: no by_domain"):
        read_score_run(run.folder)


@pytest.mark.parametrize(
    "name", [r"$\foo$", "$a_b$", "two\nlines", "ニュース", "عربي", "x" * 300, "<b>&", "a/b"]
)
def test_a_domain_may_be_called_anything(corpus, tmp_path, name, recwarn):
    """Every picture and table of a scoring run is made, without a warning, and shows the name as it is."""
    folder = write_score_run(tmp_path / "run", documents(corpus, domains=[name, "plain"]))
    assert all(path.stat().st_size for path in draw_scores(folder))
    lines = score_table(read_score_run(folder)).splitlines()
    assert sum(line.startswith("| ") for line in lines) == 5
    assert shown(name) in "\n".join(lines)
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
