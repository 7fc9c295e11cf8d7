"""Texts token by token."""

import html
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from revlm.data.layout import Layout
from revlm.data.tokens import encode, plain_tokenizer
from revlm.direction import Direction
from revlm.explorer.colours import STRONGEST, coloured_html, colours, token_pieces, token_table
from revlm.measures.scoring import Scorer
from revlm.models.language_model import LanguageModel
from revlm.pages.drawing import COLOURS

TEXT = "Früher <b>war</b> alles besser &amp; 今天很好 👩‍👩‍👧 \n\n" * 5


@pytest.fixture
def read(tiny_lm, tokenizer):
    """Read a text in windows of 64 and give its losses and its table."""
    layout = Layout.of(tokenizer, window=64)
    model = LanguageModel("tiny", tiny_lm, tokenizer, layout, tuple(Direction), {})
    scorer = Scorer(dict.fromkeys(Direction, model))

    def losses_and_table(text):
        losses = scorer.token_losses(encode(scorer.tokenize, [text]), ["text"])
        return losses, token_table(scorer.tokenize, text, losses)

    return losses_and_table


def spans(page):
    """Colour and text of each piece, as a browser would show it."""
    found = re.findall(r'<span title="[^"]*" style="[^"]*background:(#\w{6})">([^<]*)</span>', page)
    return [(colour, html.unescape(text)) for colour, text in found]


@settings(deadline=None, max_examples=100)
@given(text=st.text(min_size=1, max_size=40))
def test_pieces_are_the_text_and_hold_each_token_once(tokenizer, text):
    """Nothing is lost or shown twice, whatever the characters, and no piece is a torn character."""
    core = plain_tokenizer(tokenizer)
    pieces, counts = token_pieces(core, text)
    assert "".join(pieces) == text
    assert sum(counts) == encode(core, [text]).lengths[0]
    assert all(pieces)
    assert min(counts) >= 1


def test_a_piece_is_one_token_wherever_characters_are_whole(tokenizer):
    """Only tokens that share a character stand together."""
    core = plain_tokenizer(tokenizer)
    pieces, counts = token_pieces(core, "the cat 今")
    assert set(counts[:-1]) == {1}
    assert counts[-1] > 1
    assert pieces[-1].strip() == "今"


def test_space_that_a_tokenizer_drops_is_shown():
    """It stands before the later token; at the end, behind the last."""
    core = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    assert token_pieces(core, " a \n b  ") == ([" a", " \n b  "], [1, 1])


def test_losses_of_pieces_add_up_to_those_of_the_text(read):
    """S of the text is the sum over its pieces, and every window begins at one."""
    losses, table = read(TEXT)
    assert np.allclose([table["nll_forward"].sum(), table["nll_reverse"].sum()], losses.sums()[:, 0])
    assert np.allclose(table["s"], table["nll_forward"] - table["nll_reverse"])
    assert table["num_tokens"].sum() == losses.offsets[-1]
    assert table["window"].sum() == -(-losses.offsets[-1] // 64)


def test_html_shows_the_text_and_nothing_that_it_spells(read):
    """Tags in a text are text, and its pieces are whole and in reading order."""
    _, table = read(TEXT)
    page = coloured_html(table, title="<i>")
    assert "".join(text for _, text in spans(page)) == TEXT
    assert "<b>war" not in page
    assert "<i>" not in page
    assert page.count("border-inline-start") == table["window"].sum()


def test_colours_tell_the_easier_direction():
    """Blue below 0, vermilion above, white at 0, no stronger than the limit's."""
    low, pale, zero, high, beyond = colours(np.asarray([-2.0, -0.5, 0.0, 2.0, 9.0]), limit=2.0)
    assert zero == "#ffffff"
    assert high == beyond
    channels = {
        colour: np.asarray([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) for colour in (low, pale)
    }
    blue = np.asarray([int(COLOURS[Direction.FORWARD][at : at + 2], 16) for at in (1, 3, 5)])
    assert np.allclose(channels[low], 255 + (blue - 255) * STRONGEST, atol=1)
    assert (channels[pale] >= channels[low]).all()


def test_a_text_without_any_difference_is_white(read):
    """A scale of no width is no error."""
    _, table = read(TEXT)
    page = coloured_html(table.assign(s=0.0), title="even")
    assert {colour for colour, _ in spans(page)} == {"#ffffff"}
