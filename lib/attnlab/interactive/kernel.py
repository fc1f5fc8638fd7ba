"""Averaging by nearness, with sliders for the place that is asked for and for the width of the bell."""

import numpy as np

from attnlab.interactive.drawing import BLUE, INK, ORANGE, Figure, as_image, drawing, words
from attnlab.interactive.live import live
from attnlab.interactive.temperature import share_out
from attnlab.plotting import Numbers


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
        shares = share_out(-(((query - keys) / w) ** 2) / 2)
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
    text = "\n".join(lines)
    picture = as_image(_picture(keys, values, query, shown, (low, high)), "Averages of several widths. " + text)
    return Figure(live("kernel", picture, SCRIPT, config), text)


def _picture(x, y, query, widths, reach):
    wide, high = 250, 180
    left, right = reach

    def place(at, value, panel):
        across = panel * (wide + 20) + (at - left) / (right - left) * wide
        return across, 30 + (y.max() - value) / (np.ptp(y) or 1) * (high - 40)

    marks = []
    for panel, width in enumerate(widths):
        grid = np.linspace(left, right, 121)
        curve = [share_out(-(((at - x) / width) ** 2) / 2) @ y for at in grid]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (place(*pair, panel) for pair in zip(grid, curve, strict=True)))
        shares = share_out(-(((query - x) / width) ** 2) / 2)
        a, b = place(query, shares @ y, panel)
        marks.append(words(place((left + right) / 2, 0, panel)[0], 14, f"width {width:g}", size=14, weight=600))
        marks.append(f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="2"/>')
        marks.append(f'<line x1="{a:.1f}" x2="{a:.1f}" y1="22" y2="{high}" stroke="{INK}" stroke-dasharray="3 3"/>')
        for at, value, share in zip(x, y, shares, strict=True):
            u, v = place(at, value, panel)
            marks.append(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="1.5" fill="{INK}"/>')
            marks.append(f'<circle cx="{u:.1f}" cy="{v:.1f}" r="{12 * share**0.5:.1f}" fill="{ORANGE}"/>')
        marks.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="6" fill="none" stroke="{INK}" stroke-width="3"/>')
    return drawing(len(widths) * (wide + 20) - 20, high + 8, marks)


SCRIPT = """
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
