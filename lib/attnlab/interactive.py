"""Figures that move without a kernel, and drawings that need no plotting library.

Everything here is one piece of HTML: a picture (SVG inside an ``img``) and, where it moves, a few lines of script that
put a live version in the picture's place. No server, no kernel, nothing fetched. Where scripts do not run (a code
host, a notebook that is not trusted, a printed page) the picture stays, and the text below says the numbers.

The picture stands on a page whose colour it cannot know, so its colours are those of ``attnlab.plotting``, readable on
white and on black; the live version takes the colour of the text around it.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

import numpy as np

from attnlab.plotting import COLOURS, INK, Numbers

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


@contextmanager
def once_solved(name: str) -> Iterator[None]:
    """Run a demonstration that uses the reader's own function; while that is a stub, say which exercise it waits for.

    Only the stub's ``NotImplementedError`` is taken in; any other mistake shows itself as usual.
    """
    try:
        yield
    except NotImplementedError:
        print(f"This cell uses your {name}. Solve the exercise above, then run this cell again.")


# ---------------------------------------------------------------------------------------------------------------------
# Temperature


def temperature_slider(scores: Numbers, labels: Sequence[str] | None = None, tau: float = 1.0) -> Figure:
    """softmax(scores / τ) as bars, with a slider for τ from 0.05 to 20.

    Where scripts do not run: three temperatures side by side, a quarter of ``tau``, ``tau`` and four times ``tau``.
    """
    values = np.asarray(scores, dtype=float)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"temperature_slider expects a list of one or more finite scores, got {scores!r}: is it a batch of lists?"
        )
    names = [f"x{i}" for i in range(values.size)] if labels is None else [str(label) for label in labels]
    if len(names) != values.size:
        raise ValueError(f"temperature_slider expects one label a score, got {values.size} scores, {len(names)} labels")
    if not 0.05 <= tau <= 20:
        raise ValueError(f"temperature_slider expects a temperature from 0.05 to 20, where its slider ends; got {tau}")

    shown = [t for t in (tau / 4, tau, 4 * tau) if 0.05 <= t <= 20]
    text = "\n".join(
        f"temperature {t:g}: " + ", ".join(f"{n} {p:.1%}" for n, p in zip(names, _softmax(values / t), strict=True))
        for t in shown
    )
    config = {"scores": values.tolist(), "labels": names, "tau": tau, "blue": BLUE, "orange": ORANGE}
    key = "temperature-" + hashlib.sha256(json.dumps(config).encode()).hexdigest()[:12]
    picture = _image(_temperature_picture(values, names, shown), "Softmax at several temperatures. " + text)
    return Figure(_live(key, picture, _TEMPERATURE_SCRIPT, config), text)


def _softmax(x):
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def _temperature_picture(values, names, taus):
    bar, gap, height = 36, 12, 110
    longest = max(map(len, names))
    tilt = longest * 7.5 > bar + gap  # labels that would touch are written upwards
    below = 16 + (min(longest, 14) * 7.5 if tilt else 6)
    panel = values.size * (bar + gap) + 30
    marks = []
    for i, tau in enumerate(taus):
        left = 10 + i * panel
        middle = left + (panel - 30 - gap) / 2
        marks.append(_text(middle, 16, f"τ = {tau:g}", size=14, weight=600))
        for j, (name, p) in enumerate(zip(names, _softmax(values / tau), strict=True)):
            x, top = left + j * (bar + gap), 44 + height * (1 - p)
            colour = ORANGE if values[j] == values.max() else BLUE
            marks.append(
                f'<rect x="{x}" y="{top:.1f}" width="{bar}" height="{height * p:.1f}" rx="2" fill="{colour}"/>'
            )
            marks.append(_text(x + bar / 2, top - 5, f"{p:.0%}", size=12))
            short = name if len(name) <= 14 else name[:13] + "…"
            if tilt:
                x_0, y_0 = x + bar / 2 + 4, 44 + height + 8
                marks.append(_text(x_0, y_0, short, size=12, anchor="end", turn=f"rotate(-90 {x_0} {y_0})"))
            else:
                marks.append(_text(x + bar / 2, 44 + height + 16, short, size=12))
        base = f'x1="{left - 4}" x2="{left + panel - 30 - gap + 4}" y1="{44 + height}" y2="{44 + height}"'
        marks.append(f'<line {base} stroke="{INK}"/>')
    return _svg(panel * len(taus) - 10, 44 + height + below, marks)


# Plain script, no library. It builds the live version from `config`, so that without it no dead slider is shown.
_TEMPERATURE_SCRIPT = """
  const n = config.scores.length, row = 28, left = 140, wide = 360, top = Math.max(...config.scores);
  const svg = make(root, 'svg', {viewBox: `0 0 580 ${n * row + 8}`, role: 'img',
    style: 'display:block;width:100%;max-width:640px;color:inherit', 'font-size': 14, fill: 'currentColor'});
  const title = make(svg, 'title', {});
  const bars = [], shares = [];
  config.labels.forEach((label, i) => {
    const y = 4 + i * row;
    const short = label.length > 18 ? label.slice(0, 17) + '…' : label;
    make(svg, 'text', {x: left - 10, y: y + 18, 'text-anchor': 'end'}, short);
    make(svg, 'rect', {x: left, y: y + 3, width: wide, height: row - 8, rx: 3, 'fill-opacity': 0.08});
    bars.push(make(svg, 'rect', {x: left, y: y + 3, height: row - 8, rx: 3,
      fill: config.scores[i] === top ? config.orange : config.blue}));
    shares.push(make(svg, 'text', {x: left + wide + 10, y: y + 18}));
  });
  const [name, slider] = slide(Math.log(0.05), Math.log(20), Math.log(config.tau), 0.05, config.orange, () => draw());
  const said = make(root, 'output', {style: 'display:block;font-variant-numeric:tabular-nums'});
  const draw = () => {
    const tau = Math.exp(slider.value);
    const e = config.scores.map(s => Math.exp((s - top) / tau));
    const sum = e.reduce((a, b) => a + b);
    const p = e.map(x => x / sum);
    const bits = -p.reduce((h, x) => h + (x > 0 ? x * Math.log2(x) : 0), 0);
    p.forEach((x, i) => {
      bars[i].setAttribute('width', wide * x);
      shares[i].textContent = (100 * x).toFixed(1) + ' %';
    });
    const t = tau.toPrecision(3);
    name.textContent = 'temperature τ = ' + t;
    slider.setAttribute('aria-valuetext', 'temperature ' + t);
    title.textContent = config.labels.map((l, i) => l + ' ' + shares[i].textContent).join(', ');
    said.textContent = `entropy ${Math.abs(bits).toFixed(2)} bits: as undecided as a fair choice among ` +
      `${Math.pow(2, bits).toFixed(2)} of ${n}`;
  };
  draw();
"""


# ---------------------------------------------------------------------------------------------------------------------
# Averaging by nearness


def kernel_slider(
    x: Numbers, y: Numbers, query: float, width: float, *, xlabel: str = "x", ylabel: str = "y"
) -> Figure:
    """The average of ``y`` at ``query``, each point weighing exp(−distance² / 2 width²), with a slider for both.

    A dot's area is its weight: every picture holds the same amount of ink. Where scripts do not run: three widths side
    by side, a quarter of ``width``, ``width`` and four times ``width``.
    """
    keys, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if keys.ndim != 1 or keys.shape != values.shape or len(set(keys)) < 2 or not np.isfinite([keys, values]).all():
        raise ValueError(
            f"kernel_slider expects finite numbers x, at two places or more, and as many y; got shapes {keys.shape} "
            f"and {values.shape}: is one of them a table?"
        )
    low, high = keys.min() - 0.05 * np.ptp(keys), keys.max() + 0.05 * np.ptp(keys)
    thinnest, widest = np.ptp(keys) / 400, np.ptp(keys) * 4
    if not (low <= query <= high and thinnest <= width <= widest):
        raise ValueError(
            f"kernel_slider expects a query from {low:g} to {high:g} and a width from {thinnest:g} to {widest:g}, "
            f"where its sliders end; got {query} and {width}"
        )
    shown = [w for w in (width / 4, width, 4 * width) if thinnest <= w <= widest]
    lines = []
    for w in shown:
        shares = _softmax(-(((query - keys) / w) ** 2) / 2)
        some = np.exp(-np.sum(shares * np.log(np.maximum(shares, 1e-300))))
        lines.append(
            f"{xlabel} {query:g}, width {w:g}: {ylabel} {shares @ values:.2f}, "
            f"the weight spread as if over {some:.1f} of {len(keys)} points"
        )
    config = {
        "x": keys.tolist(),
        "y": values.tolist(),
        "query": query,
        "width": width,
        "reach": [low, high],
        "widths": [thinnest, widest],
        "names": [xlabel, ylabel],
        "blue": BLUE,
        "orange": ORANGE,
    }
    key = "kernel-" + hashlib.sha256(json.dumps(config).encode()).hexdigest()[:12]
    text = "\n".join(lines)
    picture = _image(_kernel_picture(keys, values, query, shown, (low, high)), "Averages of several widths. " + text)
    return Figure(_live(key, picture, _KERNEL_SCRIPT, config), text)


def _kernel_picture(x, y, query, widths, reach):
    wide, high = 250, 180
    left, right = reach

    def place(at, value, panel):
        across = panel * (wide + 20) + (at - left) / (right - left) * wide
        return across, 30 + (y.max() - value) / (np.ptp(y) or 1) * (high - 40)

    marks = []
    for panel, width in enumerate(widths):
        grid = np.linspace(left, right, 121)
        curve = [_softmax(-(((at - x) / width) ** 2) / 2) @ y for at in grid]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(*pair, panel) for pair in zip(grid, curve, strict=True)))
        shares = _softmax(-(((query - x) / width) ** 2) / 2)
        a, b = place(query, shares @ y, panel)
        marks.append(_text(place((left + right) / 2, 0, panel)[0], 14, f"width {width:g}", size=14, weight=600))
        marks.append(f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="2"/>')
        marks.append(f'<line x1="{a:.1f}" x2="{a:.1f}" y1="22" y2="{high}" stroke="{INK}" stroke-dasharray="3 3"/>')
        for at, value, share in zip(x, y, shares, strict=True):
            u, v = place(at, value, panel)
            marks.append(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="1.5" fill="{INK}"/>')
            marks.append(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="{12 * share**0.5:.1f}" fill="{ORANGE}"/>')
        marks.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="6" fill="none" stroke="{INK}" stroke-width="3"/>')
    return _svg(len(widths) * (wide + 20) - 20, high + 8, marks)


_KERNEL_SCRIPT = """
  const {x, y, reach, widths, names} = config;
  const wide = 600, high = 260, top = Math.max(...y), bottom = Math.min(...y);
  const across = at => (at - reach[0]) / (reach[1] - reach[0]) * wide;
  const up = value => 20 + (top - value) / (top - bottom || 1) * (high - 40);
  const svg = make(root, 'svg', {viewBox: `0 0 ${wide} ${high}`, role: 'img',
    style: 'display:block;width:100%;max-width:720px;color:inherit', fill: 'none', stroke: 'currentColor'});
  const title = make(svg, 'title', {});
  const rod = make(svg, 'line', {y1: 0, y2: high, 'stroke-dasharray': '3 3'});
  const curve = make(svg, 'polyline', {stroke: config.blue, 'stroke-width': 2.5});
  const springs = x.map((at, i) => make(svg, 'line', {x1: across(at), y1: up(y[i]), stroke: config.orange}));
  const dots = x.map((at, i) => {
    make(svg, 'circle', {cx: across(at), cy: up(y[i]), r: 2, fill: 'currentColor', stroke: 'none'});
    return make(svg, 'circle', {cx: across(at), cy: up(y[i]), fill: config.orange, stroke: 'none'});
  });
  const ring = make(svg, 'circle', {r: 9, 'stroke-width': 4});
  const [asked, query] = slide(...reach, config.query, (reach[1] - reach[0]) / 200, config.orange, () => draw());
  const [spread, width] = slide(...widths.map(Math.log), Math.log(config.width), 0.05, config.orange, () => draw());
  const said = make(root, 'output', {style: 'display:block;font-variant-numeric:tabular-nums'});
  const shares = (at, w) => {
    const scores = x.map(key => -Math.pow((at - key) / w, 2) / 2);
    const peak = Math.max(...scores);
    const e = scores.map(s => Math.exp(s - peak));
    const sum = e.reduce((a, b) => a + b);
    return e.map(height => height / sum);
  };
  const mean = p => p.reduce((sum, share, i) => sum + share * y[i], 0);
  const draw = () => {
    const at = +query.value, w = Math.exp(width.value), p = shares(at, w), answer = mean(p);
    const grid = Array.from({length: 201}, (_, i) => reach[0] + i / 200 * (reach[1] - reach[0]));
    const path = grid.map(g => `${across(g).toFixed(1)},${up(mean(shares(g, w))).toFixed(1)}`);
    curve.setAttribute('points', path.join(' '));
    for (const end of ['x1', 'x2']) rod.setAttribute(end, across(at));
    p.forEach((share, i) => {
      dots[i].setAttribute('r', 16 * Math.sqrt(share));
      for (const [k, v] of [['x2', across(at)], ['y2', up(answer)], ['stroke-width', 8 * share],
                            ['stroke-opacity', share > 0.002 ? 0.6 : 0]]) springs[i].setAttribute(k, v);
    });
    ring.setAttribute('cx', across(at));
    ring.setAttribute('cy', up(answer));
    const some = Math.exp(-p.reduce((h, share) => h + (share > 0 ? share * Math.log(share) : 0), 0));
    asked.textContent = `${names[0]} ${at.toFixed(2)}`;
    spread.textContent = `width ${w.toPrecision(3)}`;
    query.setAttribute('aria-valuetext', asked.textContent);
    width.setAttribute('aria-valuetext', spread.textContent);
    title.textContent = said.textContent =
      `${names[1]} ${answer.toFixed(2)}, the weight spread as if over ${some.toFixed(1)} of ${x.length} points`;
  };
  draw();
"""


# ---------------------------------------------------------------------------------------------------------------------
# A picture that comes alive

# What both scripts draw with.
_TOOLS = """
  const S = 'http://www.w3.org/2000/svg';
  const make = (parent, name, attributes, text) => {
    const node = parent.namespaceURI === S || name === 'svg' ? document.createElementNS(S, name)
                                                             : document.createElement(name);
    for (const k in attributes) node.setAttribute(k, attributes[k]);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };
  // A labelled slider. Arrow keys move it by `by`, whatever the browser makes of step="any".
  const slide = (min, max, value, by, colour, draw) => {
    const row = make(root, 'label', {style: 'display:flex;gap:.8em;align-items:center;max-width:640px;margin:.4em 0'});
    const name = make(row, 'span', {style: 'min-width:9.5em;font-variant-numeric:tabular-nums'});
    const slider = make(row, 'input', {type: 'range', min, max, step: 'any', style: 'flex:1;accent-color:' + colour});
    slider.addEventListener('keydown', event => {
      const move = {ArrowRight: by, ArrowUp: by, ArrowLeft: -by, ArrowDown: -by}[event.key];
      if (move === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      slider.value = +slider.value + move;
      draw();
    });
    slider.addEventListener('input', draw);
    slider.value = value;
    return [name, slider];
  };
"""


def _live(key, picture, script, config):
    """A picture and the script that puts the live figure in its place, in every copy of this output on the page."""
    data = json.dumps(config).replace("<", "\\u003c")  # no label may close the script
    return (
        f'<div class="attnlab-live" data-attnlab="{key}" style="overflow-x:auto">{picture}</div>\n'
        "<script>(() => {\n"
        f"const config = {data};\n"
        f"const build = root => {{{_TOOLS}{script}}};\n"
        f"for (const root of document.querySelectorAll('[data-attnlab=\"{key}\"]:not([data-live])')) {{\n"
        "  root.setAttribute('data-live', '');\n"
        "  root.replaceChildren();\n"
        "  build(root);\n"
        "}\n"
        "})();</script>"
    )


# ---------------------------------------------------------------------------------------------------------------------
# The road


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
    marks = [_text(0, 24, "the model", size=12, anchor="start"), *_drawn(TRANSFORMER, margin, 4, chapter)]
    rows = (("around it", BESIDE), ("at work", AT_WORK), ("frontier", FRONTIER))
    y = 4 + depth + 10
    for title, row in rows:
        marks.append(_text(0, y + 22, title, size=12, anchor="start"))
        x = float(margin)
        for stop in row:
            marks += _drawn(stop, x, y, chapter)
            x += _size(stop)[0] + 6
        width = max(width, x - 6 - margin)
        y += 44
    return Figure(_image(_svg(margin + width + 4, y, marks), text), text)


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
        marks.append(_text(x + w / 2, y + 15, str(stop.chapter), size=12, colour=colour, weight=600))
        marks.append(_text(x + w / 2, y + 29, stop.name, size=12, colour=colour, weight=weight))
        return marks
    title = f"{stop.chapter}  {stop.name}"
    marks.append(_text(x + 9, y + 17, title, size=12, anchor="start", colour=colour, weight=weight))
    left = x + 8
    for part in stop.parts:
        w_part, h_part = _size(part)
        top = y + 24 + (h - 32 - h_part) / 2
        marks += _drawn(part, left, top, current)
        left += w_part + 6
    return marks


# ---------------------------------------------------------------------------------------------------------------------
# SVG


def _text(x, y, words, *, size, anchor="middle", colour=INK, weight=400, turn=""):
    turned = f' transform="{turn}"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}"{turned}>{escape(words)}</text>'
    )


def _svg(width, height, marks):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}">{"".join(marks)}</svg>'
    )


def _image(svg, alt):
    """The drawing as an ``img``: the form that sanitisers of notebooks let through."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(alt, quote=True)}" style="max-width:100%" src="data:image/svg+xml;base64,{data}">'
