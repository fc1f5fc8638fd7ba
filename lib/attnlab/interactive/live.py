"""A picture that comes alive where scripts run."""

import hashlib
import json
from typing import Any

# What the script of a live figure draws with: `make` adds a node, `slide` a slider; `root` is the figure.
TOOLS = """
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


def live(kind: str, picture: str, script: str, config: dict[str, Any]) -> str:
    """A picture and the script that puts the live figure in its place, in every copy of this output on the page."""
    key = f"{kind}-{hashlib.sha256(json.dumps(config).encode()).hexdigest()[:12]}"
    data = json.dumps(config).replace("<", "\\u003c")  # no label may close the script
    return (
        f'<div class="attnlab-live" data-attnlab="{key}" style="overflow-x:auto">{picture}</div>\n'
        "<script>(() => {\n"
        f"const config = {data};\n"
        f"const build = root => {{{TOOLS}{script}}};\n"
        f"for (const root of document.querySelectorAll('[data-attnlab=\"{key}\"]:not([data-live])')) {{\n"
        "  root.setAttribute('data-live', '');\n"
        "  root.replaceChildren();\n"
        "  build(root);\n"
        "}\n"
        "})();</script>"
    )
