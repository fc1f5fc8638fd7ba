"""Code too wide for the page goes on below itself, further in than it began, as one would break it by hand."""

import re

from pygments.formatters import HtmlFormatter
from sphinx.highlighting import PygmentsBridge

TAG = re.compile(r"<[^>]*>")


class ByLines(HtmlFormatter):
    """Every line in an element of its own, which knows how far in it begins; book.css does the rest."""

    def wrap(self, source):
        return super().wrap(self.by_lines(source))

    def by_lines(self, source):
        for is_code, html in source:
            if is_code:
                text = TAG.sub("", html)
                indent = len(text) - len(text.lstrip(" "))
                html = f'<span class="line" style="--indent: {indent}">{html}</span>'
            yield is_code, html


def setup(app):
    PygmentsBridge.html_formatter = ByLines
    return {"parallel_read_safe": True, "parallel_write_safe": True}
