"""What moves in an attention map: plain script, no library, and the look of its parts."""

# Ink is the colour of the text around it, so that the map follows the page by day and by night. The ring is black and
# white, so that it shows on every colour of the map.
STYLE = """
.attnlab-attention fieldset{border:0;margin:.4em 0;padding:0;min-width:0}
.attnlab-attention legend{padding:0;font-weight:600;font-size:1em}
.attnlab-attention .pick{display:flex;flex-wrap:wrap;gap:6px}
.attnlab-attention .pick label{display:grid;justify-items:center;width:68px;padding:3px;border:2px solid transparent;
border-radius:4px;cursor:pointer;font-size:.85em;line-height:1.2;text-align:center}
.attnlab-attention .pick label:has(:checked){border-color:currentColor;font-weight:600}
.attnlab-attention .pick label:has(:focus-visible){outline:2px solid currentColor;outline-offset:2px}
.attnlab-attention .pick input{position:absolute;opacity:0;width:1px;height:1px;margin:0}
.attnlab-attention canvas{image-rendering:pixelated;width:56px;height:56px;border:1px solid #797979}
.attnlab-attention .map{overflow-x:auto;padding:3px;margin:.3em 0;user-select:none;-webkit-user-select:none}
.attnlab-attention [role=row]{display:flex;width:max-content}
.attnlab-attention [role=row]>*{box-sizing:border-box;flex:none;overflow:hidden;text-overflow:ellipsis;
white-space:nowrap;font-size:13px}
.attnlab-attention [role=row]>.corner{white-space:pre;line-height:1.2;font-size:11px}
.attnlab-attention [role=rowheader],.attnlab-attention .corner{text-align:right;padding-right:6px}
.attnlab-attention .upright{writing-mode:vertical-rl;transform:rotate(180deg);padding-top:4px;max-height:96px}
.attnlab-attention [role=columnheader]{text-align:center}
.attnlab-attention .upright[role=columnheader]{text-align:left;display:flex;align-items:center}
.attnlab-attention .here{font-weight:700}
.attnlab-attention [role=gridcell]{position:relative;text-align:center;font-size:12px!important;cursor:pointer;
border:1px solid #7973;outline:none}
.attnlab-attention [role=gridcell].here{box-shadow:inset 0 0 0 2px #000,inset 0 0 0 4px #fff}
.attnlab-attention [role=gridcell]:focus-visible{outline:3px solid #d55e00;outline-offset:-1px;z-index:1}
.attnlab-attention output{display:block;min-height:1.5em;font-variant-numeric:tabular-nums}
.attnlab-attention .rules{display:flow-root}
.attnlab-attention .rules span.rule,.attnlab-attention .rules label{display:inline-flex;gap:.4em;align-items:center;
min-height:28px}
.attnlab-attention .rules span.rule{margin-right:1.4em}
.attnlab-attention input[type=number]{width:3.6em;font:inherit;color:inherit;background:transparent;
border:1px solid #797979;border-radius:3px}
.attnlab-attention button{font:inherit;color:inherit;background:transparent;border:1px solid currentColor;
border-radius:4px;padding:2px 10px;cursor:pointer}
.attnlab-attention p{margin:.3em 0;font-size:.9em}
"""

SCRIPT = """
  const [L, H, T, N] = config.shape, free = config.free;
  const list = (n, f) => Array.from({length: n}, (_, i) => f(i));
  const bytes = Uint8Array.from(atob(config.data), c => c.charCodeAt(0));
  const number = i => config.low + config.step * (bytes[3 * i] + 256 * bytes[3 * i + 1] + 65536 * bytes[3 * i + 2]);
  const given = list(L * H, p => list(T, t => list(N, s => number((p * T + t) * N + s))));
  const handed = config.mask.map(row => [...row].map(may => may === '1'));
  let open = handed.map(row => [...row]), shares, panel = 0, t = 0, s = 0, brush = null;

  const share = (x, may, tau) => {
    const top = Math.max(...x.filter((_, s) => may[s]));
    const e = x.map((v, s) => may[s] ? Math.exp((v - top) / tau) : 0);
    const sum = e.reduce((a, b) => a + b);
    return e.map(v => sum ? v / sum : 0);
  };
  const stops = config.colours.split(' ').map(c => [0, 2, 4].map(i => parseInt(c.slice(i, i + 2), 16)));
  const colour = p => {
    const at = Math.min(Math.max(p, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2);
    return stops[i].map((c, k) => Math.round(c + (at - i) * (stops[i + 1][k] - c)));
  };
  const hidden = (t, s, p) => !open[t][s] && p === 0;

  root.classList.add('attnlab-attention');
  make(root, 'style', {}, config.style);
  root.addEventListener('keydown', event => {  /* a notebook has shortcuts of its own for these keys */
    if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key !== 'Escape') event.stopPropagation();
  });

  const thumbs = [];
  if (L * H > 1) {
    const group = make(root, 'fieldset', {});
    make(group, 'legend', {}, L > 1 && H > 1 ? 'Layer and head' : L > 1 ? 'Layer' : 'Head');
    const name = 'attnlab' + Math.random().toString(36).slice(2);
    list(L, l => {
      const row = make(group, 'div', {class: 'pick'});
      list(H, h => {
        const p = l * H + h, label = make(row, 'label', {});
        const radio = make(label, 'input', {type: 'radio', name});
        thumbs.push(make(label, 'canvas', {width: N, height: T, 'aria-hidden': true}).getContext('2d'));
        make(label, 'span', {}, config.panels[p]);
        radio.checked = p === 0;
        radio.addEventListener('change', () => { panel = p; draw(); });
      });
    });
  }

  const side = N <= 8 && T <= 12 ? 46 : Math.max(14, Math.min(30, Math.floor(560 / N)));
  const longest = words => Math.max(...words.map(w => [...w].length));
  const upright = longest(config.keys) * 8 > side, left = Math.min(11, Math.max(7, longest(config.queries))) * 8 + 10;
  const frame = make(root, 'div', {class: 'map'});
  const grid = make(frame, 'div', {role: 'grid', 'aria-label': 'Attention weights, queries in rows, keys in columns'});
  const head = make(grid, 'div', {role: 'row'});
  make(head, 'span', {role: 'columnheader', class: 'corner', style: `width:${left}px;align-self:end`},
    'keys →\\nqueries ↓');
  const tops = config.keys.map(key => make(head, 'span',
    {role: 'columnheader', class: upright ? 'upright' : '', style: `width:${side}px`, title: key}, key));
  const sides = [];
  const cells = config.queries.map((query, t) => {
    const row = make(grid, 'div', {role: 'row'});
    const size = `height:${side}px;line-height:${side - 2}px;`;
    sides.push(make(row, 'span', {role: 'rowheader', style: size + `width:${left}px`, title: query}, query));
    return list(N, s => {
      const cell = make(row, 'span', {role: 'gridcell', tabindex: -1, style: size + `width:${side}px`});
      cell.place = [t, s];
      return cell;
    });
  });
  const said = make(root, 'output', {'aria-live': 'polite'});

  const read = () => {
    const p = shares[panel][t][s], who = config.asked[t], whom = config.read[s];
    const weight = `${who} reads ${whom} with weight ${p.toFixed(3)}`;
    const raw = free ? `, its score is ${given[panel][t][s].toFixed(2).replace('-', '−')}` : '';
    said.textContent = !open[t].includes(true) && !shares[panel][t].some(p => p > 0)
      ? `${who} may read nothing: the mask hides every key, and all its weights are 0`
      : hidden(t, s, p) ? `${who} may not read ${whom}: hidden by the mask, weight 0`
      : open[t][s] ? weight + raw : `${weight}, though the mask hides it`;
  };
  const look = (row, column) => {
    for (const on of [cells[t][s], sides[t], tops[s]]) on.classList.remove('here');
    cells[t][s].tabIndex = -1;
    [t, s] = [row, column];
    for (const on of [cells[t][s], sides[t], tops[s]]) on.classList.add('here');
    cells[t][s].tabIndex = 0;
    read();
  };
  const draw = () => {
    const tau = free ? Math.exp(slider.value) : 1;
    shares = free ? given.map(table => table.map((row, t) => share(row, open[t], tau))) : given;
    if (free) {
      label.textContent = 'temperature τ = ' + tau.toPrecision(3);
      slider.setAttribute('aria-valuetext', label.textContent);
    }
    cells.forEach((row, t) => row.forEach((cell, s) => {
      const p = shares[panel][t][s], [r, g, b] = colour(p), veiled = hidden(t, s, p);
      cell.style.background = veiled ? 'repeating-linear-gradient(45deg,#7979 0 2px,transparent 2px 7px)'
                                     : `rgb(${r},${g},${b})`;
      const light = 0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2;
      cell.style.color = light > 0.18 ? '#000' : '#fff';
      cell.setAttribute('aria-label', veiled ? 'hidden' : p.toFixed(3));
      cell.textContent = side > 40 && !veiled ? p.toFixed(2) : '';
    }));
    thumbs.forEach((thumb, p) => {
      const image = thumb.createImageData(N, T);
      shares[p].forEach((row, t) => row.forEach((w, s) =>
        image.data.set(hidden(t, s, w) ? [0, 0, 0, 0] : [...colour(w), 255], 4 * (t * N + s))));
      thumb.putImageData(image, 0, 0);
    });
    read();
  };

  const paint = (row, column) => {  /* a fast hand skips cells: fill the line between */
    const n = Math.max(Math.abs(row - t), Math.abs(column - s), 1), from = [t, s];
    list(n, i => {
      const part = (i + 1) / n;
      open[Math.round(from[0] + part * (row - from[0]))][Math.round(from[1] + part * (column - from[1]))] = brush;
    });
  };
  const toggle = () => { open[t][s] = !open[t][s]; draw(); };
  let byMouse = false;
  grid.addEventListener('pointerdown', event => {
    byMouse = event.pointerType === 'mouse';
    if (!event.target.place || !byMouse || event.button) return;
    look(...event.target.place);
    if (!free) return;
    event.preventDefault();
    event.target.focus({preventScroll: true});
    brush = !open[t][s];
    paint(t, s);
    draw();
  });
  grid.addEventListener('pointerover', event => {
    if (!event.target.place || event.pointerType !== 'mouse') return;
    if (!(event.buttons & 1)) brush = null;
    if (brush !== null) paint(...event.target.place);
    look(...event.target.place);
    if (brush !== null) draw();
  });
  grid.addEventListener('click', event => {  /* a finger, or a screen reader: the mouse has painted already */
    if (event.target.place && !byMouse) {
      look(...event.target.place);
      if (free) toggle();
    }
    byMouse = false;
  });
  grid.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const to = {ArrowDown: [t + 1, s], ArrowUp: [t - 1, s], ArrowRight: [t, s + 1], ArrowLeft: [t, s - 1],
                Home: [t, 0], End: [t, N - 1]}[event.key];
    if (to) {
      look(Math.max(0, Math.min(T - 1, to[0])), Math.max(0, Math.min(N - 1, to[1])));
      cells[t][s].focus();
    } else if (free && (event.key === ' ' || event.key === 'Enter')) toggle();
    else return;
    event.preventDefault();
  });

  let label, slider;
  if (free) {
    [label, slider] = slide(Math.log(0.05), Math.log(20), Math.log(config.tau), 0.05, config.orange, () => draw());
    const box = make(root, 'fieldset', {class: 'rules'});
    make(box, 'legend', {}, 'Mask: every rule is a veto');
    const rules = [];
    const apply = () => {
      open = list(T, t => list(N, s => rules.every(rule => rule(t, s))));
      draw();
    };
    const rule = (said, may, start, most, what) => {
      const line = make(box, 'span', {class: 'rule'}), row = make(line, 'label', {});
      const tick = make(row, 'input', {type: 'checkbox', style: 'accent-color:' + config.orange});
      make(row, 'span', {}, said);
      const field = start === undefined ? {} : make(line, 'input',
        {type: 'number', min: 0, max: most, value: start, 'aria-label': what});
      rules.push((t, s) => !tick.checked || may(t, s, +field.value));
      tick.addEventListener('change', apply);
      if (field.addEventListener) field.addEventListener('input', () => { tick.checked = true; apply(); });
      return tick;
    };
    if (handed.some(row => row.includes(false))) rule('as given', (t, s) => handed[t][s]).checked = true;
    rule('causal: no look ahead', (t, s) => s <= t + N - T);
    rule('window: no further than', (t, s, n) => Math.abs(s - t - N + T) <= n, 1, N, 'radius of the window');
    rule('padding: hide the last', (t, s, n) => s < N - n, 1, N, 'how many keys are padding');
    const all = make(box, 'button', {type: 'button'}, 'Open all');
    all.addEventListener('click', () => {
      for (const tick of box.querySelectorAll('[type=checkbox]')) tick.checked = false;
      apply();
    });
    make(box, 'p', {}, 'Or paint it yourself: click a cell, or drag over many, to hide or show them. ' +
      'With the keyboard: arrows, and the space bar.');
  }
  draw();
  look(0, 0);
"""
