"""Which documents are held out: decided by their content, before directions exist."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import datasets
import numpy as np
import numpy.typing as npt

from revlm.data import rows
from revlm.errors import UserError

_STRETCH = 1 << 20


def content_key(text: str) -> bytes:
    """A key that a text shares with every permutation of its bytes.

    A document and its copy reversed by characters, words or tokens get the same key, so whatever
    is decided by it is decided alike for both. (A copy whose reversed tokens were decoded into
    invalid UTF-8 and patched with replacement characters is no permutation any more.) The key is a
    hash of how often each byte value occurs in the UTF-8 text.

    Returns:
        16 bytes.
    """
    values = np.frombuffer(text.encode(), dtype=np.uint8)
    # In stretches: the library makes eight bytes of each.
    counts = np.zeros(256, dtype=np.int64)
    for at in range(0, len(values), _STRETCH):
        counts += np.bincount(values[at : at + _STRETCH], minlength=256)
    return hashlib.blake2b(counts.astype("<i8").tobytes(), digest_size=16).digest()


def is_held_out(text: str, fraction: float) -> bool:
    """Whether a document stands on the validation side, decided by `content_key` alone.

    Args:
        text: the whole document.
        fraction: expected share of documents held out, 0 <= fraction < 1.
    """
    return int.from_bytes(content_key(text)[:8], "little") < fraction * 2.0**64


def split_mask(texts: datasets.Dataset | Iterable[str], fraction: float) -> npt.NDArray[np.bool_]:
    """Which documents are held out for validation: see `is_held_out`.

    Args:
        texts: a corpus's dataset, or its texts.
        fraction: expected share of documents, 0 <= fraction < 1; 0 holds out none.

    Returns:
        (documents,) bool, true for validation.

    Raises:
        UserError: a fraction that is none, or a split that leaves one side empty.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"data.val_fraction={fraction} is no share: set it to 0 or more and below 1.")
    if isinstance(texts, datasets.Dataset):
        texts = rows.texts(texts)
    mask = np.fromiter((is_held_out(text, fraction) for text in texts), dtype=np.bool_)
    if fraction > 0 and (mask.all() or not mask.any()):
        side = "all" if mask.any() else "none"
        raise UserError(
            f"data.val_fraction={fraction} puts {side} of {len(mask)} documents into validation: "
            "use more documents or another fraction."
        )
    return mask
