"""What a notebook shows, and the few pieces of SVG that all drawings are made of."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from attnlab.plotting import COLOURS, INK

BLUE, ORANGE = COLOURS[:2]
FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Figure:
    """What a notebook shows: HTML, and the same in words where HTML is not shown."""

    html: str
    text: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def words(
    x: float | int,
    y: float | int,
    said: str,
    *,
    size: int,
    anchor: str = "middle",
    colour: str = INK,
    weight: int = 400,
    turn: str = "",
) -> str:
    """Words at a place: its middle, start or end by ``anchor``, turned by an SVG ``transform``."""
    turned = f' transform="{turn}"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}"{turned}>{escape(said)}</text>'
    )


def drawing(width: float | int, height: float | int, marks: Sequence[str]) -> str:
    """Marks on a sheet of this size."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}">{"".join(marks)}</svg>'
    )


def as_image(svg: str, alt: str) -> str:
    """The drawing as an ``img``: the form that sanitisers of notebooks let through."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(alt, quote=True)}" style="max-width:100%" src="data:image/svg+xml;base64,{data}">'
