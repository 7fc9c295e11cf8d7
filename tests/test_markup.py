"""Tables as text, whatever words they hold."""

import pytest

from revlm.markup import markdown, shown


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("a\nb", r"a\nb"),
        ("red \x1b[31m", r"red \x1b[31m"),
        ("a\u2028b", r"a\u2028b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("ニュース", "ニュース"),
        ("عربي", "عربي"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        (r"$\foo$", r"$\foo$"),
    ],
)
def test_words_keep_to_their_line(words, line):
    """What would break, colour or turn a line is spelt out; every script stays as it is."""
    assert shown(words) == line


def test_a_row_stays_one_row():
    """Whatever a domain is called, its row has as many cells as the header and ends where it should."""
    table = markdown(["domain", "s"], [["a|b\nc", "+0.1"], ["plain", "-0.2"]]).splitlines()
    assert len(table) == 4
    assert r"a\|b\nc" in table[2]
