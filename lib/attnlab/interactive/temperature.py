"""softmax(scores / τ) as bars, with a slider for the temperature τ."""

from collections.abc import Sequence

import numpy as np

from attnlab.interactive.drawing import BLUE, INK, ORANGE, Figure, as_image, drawing, words
from attnlab.interactive.live import live
from attnlab.plotting import Numbers


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
        f"temperature {t:g}: " + ", ".join(f"{n} {p:.1%}" for n, p in zip(names, share_out(values / t), strict=True))
        for t in shown
    )
    config = {"scores": values.tolist(), "labels": names, "tau": tau, "blue": BLUE, "orange": ORANGE}
    picture = as_image(_picture(values, names, shown), "Softmax at several temperatures. " + text)
    return Figure(live("temperature", picture, SCRIPT, config), text)


def share_out(x: np.ndarray) -> np.ndarray:
    """Softmax of a list of scores."""
    weights = np.exp(x - np.max(x))
    return weights / weights.sum()


def _picture(values, names, taus):
    bar, gap, height = 36, 12, 110
    longest = max(map(len, names))
    tilt = longest * 7.5 > bar + gap  # labels that would touch are written upwards
    below = 16 + (min(longest, 14) * 7.5 if tilt else 6)
    panel = values.size * (bar + gap) + 30
    marks = []
    for i, tau in enumerate(taus):
        left = 10 + i * panel
        middle = left + (panel - 30 - gap) / 2
        marks.append(words(middle, 16, f"τ = {tau:g}", size=14, weight=600))
        for j, (name, p) in enumerate(zip(names, share_out(values / tau), strict=True)):
            x, top = left + j * (bar + gap), 44 + height * (1 - p)
            colour = ORANGE if values[j] == values.max() else BLUE
            marks.append(
                f'<rect x="{x}" y="{top:.1f}" width="{bar}" height="{height * p:.1f}" rx="2" fill="{colour}"/>'
            )
            marks.append(words(x + bar / 2, top - 5, f"{p:.0%}", size=12))
            short = name if len(name) <= 14 else name[:13] + "…"
            if tilt:
                x_0, y_0 = x + bar / 2 + 4, 44 + height + 8
                marks.append(words(x_0, y_0, short, size=12, anchor="end", turn=f"rotate(-90 {x_0} {y_0})"))
            else:
                marks.append(words(x + bar / 2, 44 + height + 16, short, size=12))
        base = f'x1="{left - 4}" x2="{left + panel - 30 - gap + 4}" y1="{44 + height}" y2="{44 + height}"'
        marks.append(f'<line {base} stroke="{INK}"/>')
    return drawing(panel * len(taus) - 10, 44 + height + below, marks)


# Plain script, no library. It builds the live version from `config`, so that without it no dead slider is shown.
SCRIPT = """
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
