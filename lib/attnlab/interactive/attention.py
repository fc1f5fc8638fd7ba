"""Attention weights that one can read cell by cell, cool and heat, and put a mask on."""

import base64
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from attnlab.interactive.attention_script import SCRIPT, STYLE
from attnlab.interactive.drawing import INK, ORANGE, Figure, as_image, drawing, words
from attnlab.interactive.live import live
from attnlab.interactive.pixels import COLOURS, picture_of
from attnlab.masks import masked_softmax, require_boolean
from attnlab.plotting import Numbers, visible
from attnlab.shapes import Array, Tensor

LONGEST = 64  # tokens a side: beyond, no cell can be hit with a finger
MOST = 65_536  # numbers in all, three bytes each


def attention_map(
    weights: Numbers | None = None,
    *,
    scores: Numbers | None = None,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    mask: Numbers | None = None,
    heads: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    tau: float | int = 1.0,
) -> Figure:
    """Attention of one sequence as a map that the reader walks through: point at a cell and it says who reads whom.

    Give ``weights``, or ``scores``: from scores the page itself computes softmax(scores / τ) under a mask, with a
    slider for τ from 0.05 to 20, and a mask that is made of rules or painted cell by cell; a row that may read nothing
    gets zeros. Shape (T, S), (H, T, S) or (L, H, T, S); with several heads the reader picks one.

    queries, keys  tokens, T and S of them        heads, layers  names instead of "head 1", "layer 1"
    mask           boolean, True = may attend, the same for all heads: broadcasts to (T, S)

    Where scripts do not run: the maps of all heads side by side, at ``tau``, and the strongest weights in words.
    """
    if (weights is None) == (scores is None):
        raise ValueError("attention_map expects weights or scores, one of the two: attention_map(scores=q @ k.mT / 8)")
    if not 0.05 <= tau <= 20:
        raise ValueError(f"attention_map expects a temperature from 0.05 to 20, where its slider ends; got {tau}")
    numbers = _stack(weights if scores is None else scores, "weights" if scores is None else "scores")
    L, H, T, S = numbers.shape
    asked = _labels(queries, T, "queries")
    read = _labels(keys, S, "keys")
    panels = _panels(_labels(layers, L, "layers", "layer "), _labels(heads, H, "heads", "head "))
    may = _permission(mask, T, S)
    shares = numbers if scores is None else masked_softmax(numbers / tau, may)

    config = {
        "shape": [L, H, T, S],
        "free": scores is not None,
        **_packed(numbers),
        "mask": ["".join(map(str, row)) for row in may.astype(int)],
        "queries": asked,
        "keys": read,
        "asked": _named(asked, "query " if queries is None else ""),
        "read": _named(read, "key " if keys is None else ""),
        "panels": panels,
        "tau": tau,
        "colours": COLOURS,
        "orange": ORANGE,
        "style": STYLE,
    }
    text = _in_words(shares, config["asked"], config["read"], panels)
    static = as_image(_sheet(shares.reshape(-1, T, S), may, asked, read, panels), text)
    return Figure(live("attention", static, SCRIPT, config), text)


# ------------------------------------------------------------------------------------------------ what comes in


def _stack(x, name):
    """Any of the three shapes as (L, H, T, S), finite; weights between 0 and 1."""
    x = x.detach().cpu().double().numpy() if isinstance(x, Tensor) else np.asarray(x, dtype=float)
    if not 2 <= x.ndim <= 4 or not x.size:
        raise ValueError(
            f"attention_map expects {name} of one sequence, (T, S), (H, T, S) or (L, H, T, S), got shape {x.shape}: "
            "is there a batch axis? Choose one sequence: x[0]"
        )
    if max(x.shape[-2:]) > LONGEST or x.size > MOST:
        raise ValueError(
            f"attention_map shows at most {LONGEST} queries and keys and {MOST:,} numbers, got shape {x.shape}: "
            "show a part of it, x[..., :40, :40], or fewer heads"
        )
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        cause = {"scores": "give the mask as mask=, not as −∞", "weights": "was a row masked altogether?"}[name]
        raise ValueError(f"attention_map expects finite {name}, got {x[tuple(bad[0])]} at {bad[0].tolist()}: {cause}")
    if name == "weights" and (x.min() < -1e-6 or x.max() > 1 + 1e-6):
        raise ValueError(
            f"attention_map expects weights from 0 to 1, got {x.min():.3g} to {x.max():.3g}: are these scores? Then "
            "say scores=…, and the page does the softmax"
        )
    return x.reshape((1,) * (4 - x.ndim) + x.shape)


def _labels(given, n, name, prefix=""):
    """The caller's names, or numbers; a blank that begins or ends a token is made visible."""
    if given is None:
        return [f"{prefix}{i + bool(prefix)}" for i in range(n)]
    if len(given) != n:
        raise ValueError(f"attention_map expects one name for each of the {n} {name}, got {len(given)}")
    return [re.sub(r"^\s+|\s+$|[\n\t]", lambda blank: visible(blank[0]), str(label)) for label in given]


def _named(labels, prefix):
    """How a sentence speaks of a token; one that occurs twice gets its place."""
    count = Counter(labels)
    quoted = [f"{prefix}{label}" if prefix else f"‘{label}’" for label in labels]
    places = enumerate(zip(quoted, labels, strict=True), 1)
    return [f"{q} (place {i})" if count[label] > 1 else q for i, (q, label) in places]


def _panels(layers, heads):
    """A name for each head of each layer, as long as it needs to be."""
    if len(layers) == 1:
        return heads if len(heads) > 1 else [""]
    return [f"{layer}, {head}" if len(heads) > 1 else layer for layer in layers for head in heads]


def _permission(mask, T, S):
    """The mask as a table of its own, (T, S)."""
    if mask is None:
        return np.ones((T, S), dtype=bool)
    mask = mask if isinstance(mask, Array | Tensor) else np.asarray(mask)
    require_boolean(mask)
    table = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else mask
    shared = table.reshape(table.shape[-2:]) if set(table.shape[:-2]) <= {1} else table
    if shared.ndim > 2 or any(m not in (1, n) for m, n in zip(shared.shape[::-1], (S, T), strict=False)):
        raise ValueError(
            f"attention_map expects a mask that broadcasts to ({T}, {S}), the same for all heads, got shape "
            f"{table.shape}: does it still have a batch axis? Choose one sequence: mask[0]"
        )
    return np.broadcast_to(shared, (T, S))


# ------------------------------------------------------------------------------------------------ what goes out


def _packed(x):
    """The numbers in three bytes each: low + step · n, with an error of at most 1/2²⁵ of their range."""
    low, high = float(x.min()), float(x.max())
    step = (high - low) / (2**24 - 1) or 1.0
    n = np.rint((x - low) / step).astype("<u4")
    data = np.ascontiguousarray(n).view(np.uint8).reshape(-1, 4)[:, :3]
    return {"low": low, "step": step, "data": base64.b64encode(data.tobytes()).decode()}


def _in_words(shares, asked, read, panels):
    """What the maps show: of a single one whom each query reads most, of several the strongest weight of each."""
    T, S = shares.shape[-2:]
    lines = [f"Attention weights, {T} queries in rows, {S} keys in columns."]
    maps = shares.reshape(-1, T, S)
    if len(maps) == 1:
        for name, row in zip(asked, maps[0], strict=True):
            most = f"reads {read[row.argmax()]} most, {row.max():.2f}" if row.any() else "reads nothing"
            lines.append(f"{name} {most}")
        return "\n".join(lines)
    for panel, table in zip(panels, maps, strict=True):
        t, s = np.unravel_index(table.argmax(), table.shape)
        lines.append(f"{panel}: strongest, {asked[t]} reads {read[s]}, {table[t, s]:.2f}")
    return "\n".join(lines)


def _sheet(maps, may, asked, read, panels):
    """All maps side by side; tokens are written at the left and below, where there is room for them."""
    n, T, S = maps.shape
    across = min(n, 4)
    side = min(30, max(3, (640 / across - 14) / max(T, S)))
    wide, high = side * S, side * T
    longest = [min(12, max(map(len, labels))) * 7.2 + 8 for labels in (asked, read)] if side >= 13 else [0, 0]
    title = 22 if n > 1 else 4
    marks = []
    for i, table in enumerate(maps):
        left, top = longest[0] + i % across * (wide + 14), i // across * (high + title + 8) + title
        if n > 1:
            marks.append(words(left + wide / 2, top - 7, panels[i], size=12))
        marks.append(picture_of(table, may, left, top, wide, high))
        marks.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="none" stroke="{INK}"/>'
        )
        if longest[0] and i % across == 0:
            for t, label in enumerate(asked):
                marks.append(words(left - 6, top + (t + 0.5) * side + 4, _short(label), size=12, anchor="end"))
        if longest[1] and i + across >= n:
            for s, label in enumerate(read):
                x, y = left + (s + 0.5) * side + 4, top + high + 8
                marks.append(words(x, y, _short(label), size=12, anchor="end", turn=f"rotate(-90 {x:.1f} {y:.1f})"))
    depth = -(-n // across) * (high + title + 8)
    return drawing(longest[0] + across * (wide + 14) - 12, depth + longest[1] + 4, marks)


def _short(label):
    return label if len(label) <= 12 else label[:11] + "…"
