"""Pictures of attention: heat maps, alignments, grids of heads, attention over an image, distributions, curves.

Each function takes numbers (arrays or tensors), draws, and returns the Axes, or the Figure where there are several.
Nothing is shown, no setting outlives the call. One saved picture has to look right on a white page and on a dark one:
the background is transparent, the ink a grey that has a contrast of 4.3 against both, the colours are of
medium lightness, and tell the colour-blind apart too. What a picture shows, ``alt_text`` says in words.

Matplotlib is imported when something is drawn, not before.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from attnlab.shapes import Array, Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Array | Tensor | Sequence
P = ParamSpec("P")
R = TypeVar("R")

INK = "#797979"  # relative luminance 0.19: as far from white as from #111
# After Okabe and Ito (2008), evened out in lightness: every colour has a contrast of at least 3 on white and on #111.
COLOURS = ("#2678b8", "#d55e00", "#009271", "#b565a0", "#9a7200", INK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
WEIGHTS_MAP = "viridis"
SIGNED_MAP = "RdBu_r"
# The first font is always there; the others hold Chinese, and are used where the system has them.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Zen Hei")


@contextmanager
def house_style() -> Iterator[None]:
    """The settings of every picture in the course, for the length of a ``with`` block."""
    from matplotlib import font_manager, rc_context, rcsetup

    installed = set(font_manager.get_font_names())
    inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings: Any = dict.fromkeys(inks, INK) | {
        "font.family": [font for font in FONTS if font in installed],
        "font.size": 11,
        "axes.titlesize": 12,
        "figure.dpi": 120,
        "figure.figsize": (6.0, 3.6),
        "figure.constrained_layout.use": True,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": INK,
        "grid.alpha": 0.25,
        "lines.linewidth": 2.0,
        "axes.prop_cycle": rcsetup.cycler(color=COLOURS, linestyle=DASHES),
    }
    with rc_context(settings):
        yield


def _in_house_style(draw: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with house_style():
            return draw(*args, **kwargs)

    return styled


@_in_house_style
def heatmap(
    weights: Numbers,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    *,
    mask: Numbers | None = None,
    numbers: bool = False,
    title: str = "",
    ax: "Axes | None" = None,
) -> "Axes":
    """Weights of shape (T, S) as colours from 0 to 1, a row for each query; forbidden cells are left out.

    ``mask`` (True = may attend) tells the forbidden from the merely unimportant. ``numbers`` writes each weight into
    its cell.
    """
    w = _matrix(weights)
    ax = _axes(ax, w.shape)
    shown = w if mask is None else np.where(np.broadcast_to(_array(mask) > 0, w.shape), w, np.nan)
    image = _cells(ax, shown, queries, keys, cmap=WEIGHTS_MAP, vmin=0, vmax=max(1.0, w.max(initial=0)))
    _frame(ax, "keys", "queries", title)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02).outline.set_visible(False)
    if numbers:
        _write_numbers(ax, image, shown)
    kind = f"Heat map of attention weights, {_count(w.shape[0], 'query')} by {_count(w.shape[1], 'key')}"
    _describe(ax, kind, title, _strongest(w, queries, keys))
    return ax


@_in_house_style
def signed_heatmap(
    values: Numbers,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    numbers: bool = False,
    title: str = "",
    ax: "Axes | None" = None,
) -> "Axes":
    """Scores, gradients, position codes: any matrix, blue below zero, red above, zero pale."""
    x = _matrix(values)
    ax = _axes(ax, x.shape)
    reach = np.abs(x).max(initial=0) or 1.0
    image = _cells(ax, x, rows, columns, cmap=SIGNED_MAP, vmin=-reach, vmax=reach)
    _frame(ax, "", "", title)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02).outline.set_visible(False)
    if numbers:
        _write_numbers(ax, image, x)
    low, high = (x.min(), x.max()) if x.size else (0.0, 0.0)
    kind = f"Heat map of a matrix, {x.shape[0]} by {x.shape[1]}, from {low:.2f} to {high:.2f}"
    _describe(ax, kind, title)
    return ax


@_in_house_style
def alignment_map(
    weights: Numbers, target: Sequence[str], source: Sequence[str], *, title: str = "", ax: "Axes | None" = None
) -> "Axes":
    """Which source word stands behind each target word: a heat map, source above, with a ring round each row's
    strongest weight."""
    w = _matrix(weights)
    ax = _axes(ax, w.shape)
    _cells(ax, w, target, source, cmap=WEIGHTS_MAP, vmin=0, vmax=1)
    _frame(ax, "source", "target", title)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    attends = w.max(-1, initial=0) > 0
    t, s = np.nonzero(attends)[0], w.argmax(-1)[attends]
    dark_under_light = {"facecolors": "none", "s": _ring_size(w.shape)}
    ax.scatter(s, t, edgecolors="black", linewidths=3.0, **dark_under_light)
    ax.scatter(s, t, edgecolors="white", linewidths=1.4, **dark_under_light)
    kind = f"Alignment of {_count(len(target), 'target word')} with {_count(len(source), 'source word')}"
    _describe(ax, kind, title, _strongest(w, target, source))
    return ax


@_in_house_style
def head_grid(
    weights: Numbers,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    *,
    columns: int = 4,
    titles: Sequence[str] | None = None,
    title: str = "",
) -> "Figure":
    """Weights of shape (H, T, S): a small heat map for each head, all with the same colours."""
    import matplotlib.pyplot as plt

    w = _array(weights)
    if w.ndim != 3 or w.shape[0] == 0:
        raise ValueError(f"head_grid expects weights of one sequence, (H, T, S), got shape {w.shape}")
    H, T, S = w.shape
    columns = min(columns, H)
    rows = -(-H // columns)
    side = 7.2 / columns
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(7.6, rows * (side * min(max(T / S, 0.4), 2) + 0.4))
    )
    for ax in axes.flat[H:]:
        ax.set_axis_off()
    for head, ax in enumerate(axes.flat[:H]):
        first_column, last_row = head % columns == 0, head + columns >= H
        image = _cells(ax, w[head], queries if first_column else (), keys if last_row else (), vmin=0, vmax=1)
        ax.tick_params(labelsize=min(11, 0.85 * 72 * 0.75 * side / max(T, S)))
        name = titles[head] if titles else f"head {head + 1}"
        _frame(ax, "", "", name)
        _describe(ax, f"Attention weights of {name}", "", _strongest(w[head], queries, keys))
    figure.suptitle(title, color=INK)
    figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02).outline.set_visible(False)
    return figure


@_in_house_style
def image_attention(image: Numbers, weights: Numbers, *, title: str = "", ax: "Axes | None" = None) -> "Axes":
    """Attention over a picture: what gets weight keeps its light, the rest falls into shade.

    ``image`` is (height, width) in grey or (height, width, 3); ``weights`` is a coarser grid (h, w) that is stretched
    over it, so that every patch is one flat tile.
    """
    picture, w = _array(image), _matrix(weights)
    ax = _axes(ax, (10, 10))
    height, width = picture.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(picture, cmap="gray", extent=extent)
    shade = 1 - w / (w.max(initial=0) or 1.0)
    veil = np.zeros((*w.shape, 4))
    veil[..., :3] = (0.27, 0.0, 0.33)  # the dark end of the map of w
    veil[..., 3] = 0.65 * shade
    ax.imshow(veil, extent=extent, interpolation="nearest")
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks([])
    _frame(ax, "", "", title)
    row, column = np.unravel_index(w.argmax(), w.shape)
    most = f"Most weight, {w.max():.2f}, on tile ({row + 1}, {column + 1}) of {w.shape[0]} by {w.shape[1]}"
    _describe(ax, "Attention over a picture", title, most)
    return ax


@_in_house_style
def bars(
    distributions: Mapping[str, Numbers],
    labels: Sequence[str],
    *,
    ylabel: str = "weight",
    title: str = "",
    ax: "Axes | None" = None,
) -> "Axes":
    """One or several distributions over the same labels, as bars side by side: {name: weights}."""
    ax = _axes(ax, None)
    place = np.arange(len(labels))
    width = 0.8 / max(len(distributions), 1)
    for i, (name, values) in enumerate(distributions.items()):
        offset = (i - (len(distributions) - 1) / 2) * width
        ax.bar(place + offset, _array(values), width * 0.92, label=name, color=COLOURS[i % len(COLOURS)])
    ax.set_xticks(place, labels=[visible(label) for label in labels])
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="y")
    _frame(ax, "", ylabel, title)
    if len(distributions) > 1:
        ax.legend()
    peaks = "; ".join(
        f"{name}: most on {labels[int(_array(v).argmax())]}" for name, v in distributions.items() if len(labels)
    )
    _describe(ax, f"Bars of {ylabel} over {_count(len(labels), 'label')}", title, peaks)
    return ax


@_in_house_style
def curves(
    lines: Mapping[str, Numbers],
    x: Numbers | None = None,
    *,
    xlabel: str = "step",
    ylabel: str = "loss",
    title: str = "",
    ax: "Axes | None" = None,
) -> "Axes":
    """Lines over the same x (1, 2, 3, … by default): {name: values}. Told apart by colour and by dashes."""
    ax = _axes(ax, None)
    for name, line in lines.items():
        values = _array(line)
        ax.plot(np.arange(1, len(values) + 1) if x is None else _array(x), values, label=name)
    ax.grid(axis="y")
    _frame(ax, xlabel, ylabel, title)
    if len(lines) > 1:
        ax.legend(handlelength=3)
    ends = "; ".join(
        f"{name}: {v[0]:.3g} to {v[-1]:.3g}" for name, v in ((n, _array(v)) for n, v in lines.items()) if len(v)
    )
    _describe(ax, f"Curves of {ylabel} by {xlabel}", title, ends)
    return ax


def alt_text(picture: "Axes | Figure") -> str:
    """What a picture shows, in words, for readers who do not see it."""
    axes = picture.axes if hasattr(picture, "axes") and isinstance(picture.axes, list) else [picture]
    return " ".join(str(ax.get_label()) for ax in axes if str(ax.get_label()).endswith("."))


def _describe(ax, kind, title, detail=""):
    """The description travels as the Axes' label, which matplotlib itself does not draw."""
    sentence = f"{kind}: {title}" if title else kind
    ax.set_label(". ".join(part for part in (sentence, detail) if part) + ".")


def _strongest(weights, queries, keys):
    if weights.size == 0:
        return ""
    t, s = np.unravel_index(weights.argmax(), weights.shape)
    query = queries[t] if queries else f"query {t}"
    key = keys[s] if keys else f"key {s}"
    return f"Strongest: {query} on {key}, {weights[t, s]:.2f}"


def _count(n, noun):
    return (
        f"{n} {noun}" if n == 1 else f"{n} {noun[:-1]}ies" if noun.endswith("y") and noun != "key" else f"{n} {noun}s"
    )


def _array(x):
    """Any numbers as a NumPy array: half precision and gradients are of no use in a picture."""
    return x.detach().cpu().float().numpy() if isinstance(x, Tensor) else np.asarray(x)


def _matrix(x):
    x = _array(x)
    if x.ndim != 2:
        raise ValueError(
            f"expected a matrix, two axes, got shape {x.shape}: choose one sequence and one head, weights[b, h]"
        )
    return x


def _axes(ax, shape):
    """The Axes to draw in: the caller's, or a new one whose size follows the number of cells."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    if shape is None:
        return plt.subplots()[1]
    height, width = (min(max(0.36 * n, 2.2), 6.4) for n in shape)
    return plt.subplots(figsize=(width + 2.0, height + 1.0))[1]


def _cells(ax, values, rows, columns, *, cmap=WEIGHTS_MAP, vmin, vmax):
    image = ax.imshow(values, cmap=cmap, vmin=vmin, vmax=vmax, aspect="equal", interpolation="nearest")
    T, S = values.shape
    for axis, labels, n, horizontal in ((ax.yaxis, rows, T, False), (ax.xaxis, columns, S, True)):
        if labels is None:
            axis.get_major_locator().set_params(integer=True)
            continue
        if len(labels) not in (0, n):
            raise ValueError(
                f"expected {n} labels, one for each {'column' if horizontal else 'row'}, got {len(labels)}"
            )
        texts = [visible(label) for label in labels]
        axis.set_ticks(range(len(labels)), labels=texts)
        for text in axis.get_ticklabels():
            text.set_parse_math(False)
        if horizontal and max(map(len, texts), default=0) > 2:
            axis.set_tick_params(rotation=90)
    if np.isnan(values).any():
        ax.patch.set_hatch("///")
        ax.patch.set_edgecolor(INK)
        ax.patch.set_alpha(0.5)
    return image


def visible(label):
    """A label that a reader sees even where the token is a blank."""
    return str(label).replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")


def _frame(ax, xlabel, ylabel, title):
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)


def _ring_size(shape):
    return min(160, 9000 / max(max(shape), 1) ** 1.6)


def _write_numbers(ax, image, values):
    """Each number in black or white, whichever its cell is further from."""
    for (t, s), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        red, green, blue, _ = image.cmap(image.norm(value))
        lightness = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        ax.text(s, t, f"{value:.2f}", ha="center", va="center", size=9, color="black" if lightness > 0.18 else "white")
