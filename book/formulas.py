"""Formulas as MathML: the browser sets them itself, without a script and without a network.

TeX becomes MathML while the book is built. The font is STIX Two Math (SIL Open Font License 1.1) as the package
``ziamath`` brings it, cut down to the signs that the book uses.
"""

import html
import importlib.util
import logging as standard_logging
import re
import unicodedata
from pathlib import Path

from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont
from math_core import LatexError, LatexToMathML
from sphinx.util import logging

CONVERTER = LatexToMathML(fancy_error=False)
FORMULA = re.compile(r"<math\b.*?</math>", re.DOTALL)
FONT = "stix-two-math.woff"
# A lone letter in <mi> is drawn as its mathematical italic: a sign of its own, which stands in no page's text.
ITALICS = (*range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C))
ITALIC = {chr(int(unicodedata.decomposition(chr(c)).split()[1], 16)): chr(c) for c in ITALICS if c != 0x1D455}
ITALIC["h"] = "ℎ"  # older than the others, which have a hole for it
log = logging.getLogger(__name__)
standard_logging.getLogger("fontTools").setLevel(standard_logging.WARNING)


def mathml(node, displaystyle):
    """A formula's MathML. One that is not understood is a warning with its place, and shown as it was written."""
    try:
        return CONVERTER.convert_with_local_state(node.astext(), displaystyle=displaystyle)
    except LatexError as error:
        log.warning("this formula is not understood: %s: %s", node.astext(), error, location=node)
        return f"<code>{node.astext()}</code>"


def visit_inline(translator, node):
    translator.body.append(mathml(node, displaystyle=False))
    raise nodes.SkipNode


def visit_block(translator, node):
    # A formula wider than a phone scrolls by itself, also by keyboard; the page does not.
    formula = mathml(node, displaystyle=True)
    translator.body.append(f'<div class="formula" tabindex="0" role="group" aria-label="formula">{formula}</div>\n')
    raise nodes.SkipNode


def font_file():
    """Where ``ziamath`` keeps the font; found without importing it."""
    return Path(importlib.util.find_spec("ziamath").origin).with_name("fonts") / "STIXTwoMath-Regular.ttf"


def add_font(app, exception):
    """Put the font beside the pages, with the signs that stand in their formulas."""
    if exception or app.builder.format != "html":
        return
    signs = set("0123456789()[]{}|/+−=,.…√")  # the root is an element, <msqrt>, and stands in no page's text
    for page in app.outdir.rglob("*.html"):
        for formula in FORMULA.findall(page.read_text(encoding="utf-8")):
            signs.update(html.unescape(re.sub(r"<[^>]*>", "", formula)))
    signs |= {ITALIC[sign] for sign in signs & ITALIC.keys()}
    with TTFont(font_file(), lazy=True) as font:
        subsetter = subset.Subsetter(subset.Options(layout_features=["*"]))
        subsetter.populate(text="".join(sorted(signs)))
        subsetter.subset(font)
        font.flavor = "woff"
        font.save(app.outdir / "_static" / FONT)


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("build-finished", add_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
