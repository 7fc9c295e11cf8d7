"""Files are whole or absent, whatever happens while they are written."""

import pytest

from revlm.cache import atomic_path, write_atomically


def write_half(path):
    path.write_text("ne")
    path.write_text(None)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    """Neither half of the new content, nor a rest beside it."""
    path = tmp_path / "folder" / "file"
    write_atomically(path, "old")
    with pytest.raises(TypeError), atomic_path(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_ends_well_replaces_the_file(tmp_path):
    """Text becomes UTF-8; nothing else is left in the folder."""
    path = tmp_path / "file"
    for text in ("old", "nü"):
        write_atomically(path, text)
    assert path.read_bytes() == "nü".encode()
    assert list(tmp_path.iterdir()) == [path]
