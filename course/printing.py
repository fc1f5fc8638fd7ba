"""``attnlab book --pdf``: the pages of the book as one PDF, printed by the Chromium that is installed here.

Each page is taken as Sphinx made it and made fit for paper in the browser, by ``course/printing.js``: its hints,
answers and solutions go to the end of their chapter, links lead within the book. All of them are one page then, which
is printed twice: the first time tells on which page each chapter begins, the second time the contents say it.
"""

import html
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course import book, browser, colab, paths
from course.readme import heading_of
from course.source import Chapter, chapters_in

SCRIPT = Path(__file__).with_suffix(".js")
# What follows the chapters; the other pages are for the screen.
AFTER = {"glossary": "Glossary", "notation": "Notation", "references": "References", "colophon": "About this book"}
MINUTES = 10 * 60_000  # milliseconds that a busy machine may take
NO_BROWSER = (
    "the PDF is printed by a browser, and no Chromium, Chrome or Edge was found; install one (on Debian: sudo apt-get "
    "install chromium), or open the book in your browser and print a chapter there"
)
# A glyph that is missing is an empty box, whichever sign it stands for: then two signs look the same.
HAS_CHINESE = """() => {
    const drawn = sign => {
        const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
        pen.font = "40px sans-serif";
        pen.fillText(sign, 10, 60);
        return canvas.toDataURL();
    };
    return drawn("词") != drawn("中");
}"""


@dataclass(frozen=True)
class Printed:
    """What came out: where, how many pages, and whether there was a font for the Chinese words."""

    path: Path
    pages: int
    has_chinese: bool


def pdf(site: Path) -> Printed:
    """Print the book that stands in a folder into a file beside this folder."""
    missing = [name for name in ("playwright", "pypdf") if importlib.util.find_spec(name) is None]
    if missing:
        raise book.BookError(f"the PDF needs {', '.join(missing)}; run: python -m pip install -e '.[author,test]'")
    program = browser.chromium()
    if not program:
        raise book.BookError(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    chapters = chapters_in(paths.CHAPTERS)
    page, target = site.with_name("print.html"), site.with_name("attention-lab.pdf")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=browser.arguments())
        tab = running.new_page(color_scheme="light")
        tab.set_default_timeout(MINUTES)
        names = ["title", *(f"chapters/{chapter.name}" for chapter in chapters), *AFTER]
        script = SCRIPT.read_text(encoding="utf-8")
        bodies = [
            tab.evaluate(script, [(site / f"{name}.html").read_text(encoding="utf-8"), name, names, f"{site.name}/"])
            for name in names[1:]
        ]
        begins: dict[str, int] = {}
        for _ in range(2):
            page.write_text(sheet(site, chapters, bodies, begins), encoding="utf-8")
            tab.goto(page.as_uri())
            tab.evaluate("Promise.all([document.fonts.ready, ...[...document.images].map(image => image.decode())])")
            tab.pdf(path=target, outline=True, tagged=True, print_background=True, prefer_css_page_size=True)
            begins, pages = first_pages(target)
        has_chinese = tab.evaluate(HAS_CHINESE)
        running.close()
    page.unlink()
    return Printed(target, pages, has_chinese)


def sheet(site: Path, chapters: Sequence[Chapter], bodies: Sequence[str], begins: dict[str, int]) -> str:
    """All pages as one, with the site's own style and the one for paper."""
    styles = re.findall(r'<link\b[^>]*\brel="stylesheet"[^>]*>', (site / "index.html").read_text(encoding="utf-8"))
    here = [re.sub(r'href="', f'href="{site.name}/', style) for style in styles]
    here.append(f'<link rel="stylesheet" href="{site.name}/_static/paper.css">')
    here.append(f'<script src="{site.name}/_static/roots.js" defer></script>')
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en" data-theme="light"><head>',
            '<meta charset="utf-8"><title>Attention Lab</title>',
            *here,
            '</head><body><main class="bd-content paper">',
            title_page(chapters, begins),
            *bodies,
            "</main></body></html>",
        ]
    )


def title_page(chapters: Sequence[Chapter], begins: dict[str, int]) -> str:
    """Title, what is where, and the contents with the pages on which the chapters begin."""
    rows = []
    for part, numbers in book.PARTS.items():
        inside = [chapter for chapter in chapters if chapter.number in numbers]
        if inside:
            rows.append(f'<p class="part">{html.escape(part)}</p>')
            rows += [row(f"chapters/{chapter.name}", heading_of(chapter)[0], begins) for chapter in inside]
    rows.append('<p class="part">Beside the chapters</p>')
    rows += [row(name, title, begins) for name, title in AFTER.items()]
    return f"""<article class="bd-article title-page" id="title">
<h1>Attention Lab</h1>
<p class="what">A course that teaches attention by having you build it</p>
<p>Hints, solutions and answers stand at the end of each chapter, and a mark where they belong leads there. The code
behind the pictures, pictures that move, the library, the index of exercises and what instructors need are in the book
on the screen, which <code>python lab.py book --open</code> makes. The course is at
<a href="{colab.address()}">{colab.address()}</a>.</p>
<nav class="overview"><h2>Contents</h2>
{"".join(rows)}
</nav></article>"""


def row(name: str, title: str, begins: dict[str, int]) -> str:
    number = begins.get(joined(title), "")
    return f'<p><a href="#{anchor(name)}"><span>{html.escape(title)}</span><span>{number}</span></a></p>'


def anchor(name: str) -> str:
    """Where a page of the site begins in the one page: printing.js gives it the same name."""
    return name.replace("/", "-")


def first_pages(path: Path) -> tuple[dict[str, int], int]:
    """The page to which each bookmark of the first rank leads, counted from 1; and how many pages there are."""
    from pypdf import PdfReader

    reader = PdfReader(path)
    top = [entry for entry in reader.outline if not isinstance(entry, list)]
    found = {entry.title: reader.get_destination_page_number(entry) for entry in top}
    return {joined(str(title)): number + 1 for title, number in found.items() if number is not None}, len(reader.pages)


def joined(title: str) -> str:
    """A title without its spaces, of which a bookmark loses the one where the heading goes on in a second line."""
    return "".join(title.split())
