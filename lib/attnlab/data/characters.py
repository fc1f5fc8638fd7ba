"""Running text for models of characters: the language reference that Python itself carries, `pydoc_data.topics`.

Its topics repeat one another. A paragraph that occurs twice is kept once, and whole topics go to one split, so that
a model cannot score by having seen a paragraph of the test text before.
"""

import platform
from typing import NamedTuple

import numpy as np

from attnlab.data.corpus import Dataset, Vocabulary, shuffled


class Text(NamedTuple):
    """One long string; its length counts characters."""

    text: str

    def __len__(self) -> int:
        return len(self.text)


def load(size: int | None = None, seed: int = 0) -> Dataset[Text]:
    """About 380,000 characters, topics in an order drawn from ``seed``; ``size`` takes only so many.

    The text is that of the running Python: another minor version has another edition.
    """
    topics = shuffled(_topics(), np.random.default_rng(seed))
    total = sum(map(len, topics))
    if size is None:
        size = total
    if not 1_000 <= size <= total:
        raise ValueError(f"size must lie between 1,000 and {total:,} characters, which is all there is; got {size:,}")
    # Topics are dealt out whole until validation and test have a tenth each; the last topic dealt may be cut short.
    parts: list[list[str]] = [[], [], []]
    room = [size // 10, size // 10, size - 2 * (size // 10)]
    for topic in topics:
        place = int(np.argmax(room)) if max(room) > 0 else None
        if place is None:
            break
        parts[place].append(topic[: room[place]])
        room[place] -= len(parts[place][-1])
    test, valid, train = (Text("".join(part)) for part in parts)
    return Dataset(
        name="characters",
        kind="real",
        source=f"pydoc_data.topics of Python {platform.python_version()}: its own language reference",
        licence="Python Software Foundation License 2",
        train=train,
        valid=valid,
        test=test,
        example=repr(train.text[:60]),
        baseline="the frequency of each character alone: about 4.8 bits a character",
        vocabularies={"character": Vocabulary.of([train.text])},
        notes="whole topics to one split, repeated paragraphs left out; sizes count characters",
    )


def _topics() -> list[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise ImportError(
            "the text comes from pydoc_data, which this Python lacks: install your system's full Python package"
        ) from None
    seen: set[str] = set()
    unique = []
    for name in sorted(topics):
        paragraphs = []
        for paragraph in topics[name].split("\n\n"):
            bare = " ".join(paragraph.split())
            if bare and bare not in seen:
                seen.add(bare)
                paragraphs.append(paragraph.strip("\n"))
        if paragraphs:
            unique.append("\n\n".join(paragraphs) + "\n\n")
    return unique
