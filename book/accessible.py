"""What axe finds in the pages as Sphinx and its theme write them, mended on the way out."""

import re

# A Markdown table has a head, whether it needs one or not. A cell without words is none, nor is a head without cells.
EMPTY_HEAD = re.compile(r"<th\b[^>]*>(?:<p></p>|\s)*</th>")
NO_HEAD = re.compile(r"<thead>\s*<tr\b[^>]*>(?:\s*<td></td>)*\s*</tr>\s*</thead>\s*")
# The arrow that unfolds a part of the side bar is a picture; what it unfolds is said before it.
UNFOLDS = re.compile(r"(<a\b[^>]*>(?P<page>[^<]*)</a><details\b[^>]*><summary)>")


def repair(app, pagename, templatename, context, doctree):
    context["body"] = NO_HEAD.sub("", EMPTY_HEAD.sub("<td></td>", context.get("body", "")))
    made = context.get("generate_toctree_html")
    if made:
        context["generate_toctree_html"] = lambda *words, **names: UNFOLDS.sub(
            r'\1 aria-label="The pages of \g<page>">', str(made(*words, **names))
        )


def setup(app):
    app.connect("html-page-context", repair, priority=900)  # after the theme, which adds the side bar's function
    return {"parallel_read_safe": True, "parallel_write_safe": True}
