"""The map of the course: boxes built out of the boxes inside them, and where on the road a chapter stands."""

from collections.abc import Iterator
from dataclasses import dataclass

from attnlab.interactive.drawing import BLUE, INK, ORANGE, Figure, as_image, drawing, words


@dataclass(frozen=True)
class Stop:
    """A chapter on the map of the course: a box with its number, and inside it the chapters it is built from."""

    name: str
    chapter: int | None
    parts: tuple["Stop", ...] = ()


TRANSFORMER = Stop(
    "the Transformer",
    14,
    (
        Stop(
            "encoder",
            12,
            (
                Stop(
                    "block",
                    11,
                    (
                        Stop(
                            "multi-head",
                            9,
                            (
                                Stop(
                                    "self-attention",
                                    8,
                                    (
                                        Stop("softmax", 1),
                                        Stop("averaging", 2),
                                        Stop("additive", 3),
                                        Stop("dot product", 4),
                                        Stop("masks", 5),
                                    ),
                                ),
                            ),
                        ),
                    ),
                ),
            ),
        ),
        Stop("positions", 10),
        Stop("decoder", 13),
    ),
)
BESIDE = (Stop("sequences", 6), Stop("alignments", 7), Stop("decoding", 15))
AT_WORK = (
    Stop("translate", 16),
    Stop("tag", 17),
    Stop("classify", 18),
    Stop("see", 19),
    Stop("write", 20),
    Stop("summarise", 21),
    Stop("recommend", 22),
    Stop("listen", 23),
)
FRONTIER = (Stop("cost", 24), Stop("fast", 25), Stop("inside heads", 26))


def stops() -> dict[int, str]:
    """Every chapter's number and its name on the map, in order."""

    def walk(stop: Stop) -> Iterator[tuple[int, str]]:
        if stop.chapter is not None:
            yield stop.chapter, stop.name
        for part in stop.parts:
            yield from walk(part)

    found = (pair for stop in (TRANSFORMER, *BESIDE, *AT_WORK, *FRONTIER) for pair in walk(stop))
    return dict(sorted(found))


def road(chapter: int) -> Figure:
    """The map of the course: what is built before ``chapter`` is filled, ``chapter`` shines, the rest is dashed."""
    names = stops()
    if chapter not in names:
        raise ValueError(f"road expects a chapter from 1 to {len(names)}, got {chapter}")
    built = [name for number, name in names.items() if number < chapter]
    text = f"Chapter {chapter} of {len(names)}: {names[chapter]}. Built so far: {', '.join(built) or 'nothing yet'}."

    width, depth = _size(TRANSFORMER)
    margin = 90
    marks = [words(0, 24, "the model", size=12, anchor="start"), *_drawn(TRANSFORMER, margin, 4, chapter)]
    rows = (("around it", BESIDE), ("at work", AT_WORK), ("frontier", FRONTIER))
    y = 4 + depth + 10
    for title, row in rows:
        marks.append(words(0, y + 22, title, size=12, anchor="start"))
        x = float(margin)
        for stop in row:
            marks += _drawn(stop, x, y, chapter)
            x += _size(stop)[0] + 6
        width = max(width, x - 6 - margin)
        y += 44
    return Figure(as_image(drawing(margin + width + 4, y, marks), text), text)


def _size(stop):
    own = 7.2 * len(stop.name) + 16
    if not stop.parts:
        return own, 36
    inside = [_size(part) for part in stop.parts]
    across = sum(w for w, _ in inside) + 6 * (len(inside) - 1) + 16
    return max(own + 20, across), max(h for _, h in inside) + 32


def _drawn(stop, x, y, current, size=None):
    w, h = size or _size(stop)
    here, built = stop.chapter == current, stop.chapter < current
    if here:
        look = f'fill="{ORANGE}" fill-opacity="{0.2 if stop.parts else 1}" stroke="{ORANGE}" stroke-width="2"'
    elif built:
        look = f'fill="{BLUE}" fill-opacity="{0.1 if stop.parts else 1}" stroke="{BLUE}"'
    else:
        look = f'fill="none" stroke="{INK}" stroke-dasharray="3 3"'
    marks = [f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" {look}/>']
    solid = not stop.parts and (here or built)
    colour = "#ffffff" if solid else ORANGE if here else INK
    weight = 600 if here else 400
    if not stop.parts:
        marks.append(words(x + w / 2, y + 15, str(stop.chapter), size=12, colour=colour, weight=600))
        marks.append(words(x + w / 2, y + 29, stop.name, size=12, colour=colour, weight=weight))
        return marks
    title = f"{stop.chapter}  {stop.name}"
    marks.append(words(x + 9, y + 17, title, size=12, anchor="start", colour=colour, weight=weight))
    left = x + 8
    for part in stop.parts:
        w_part, h_part = _size(part)
        top = y + 24 + (h - 32 - h_part) / 2
        marks += _drawn(part, left, top, current)
        left += w_part + 6
    return marks
