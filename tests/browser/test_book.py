"""The book in a real browser, with every other host refused: nothing is missing, by day and by night, on a phone."""

import inspect
import io
import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from fontTools.ttLib import TTFont
from PIL import Image
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pypdf import PdfReader

from autograder import catalogue, panel
from autograder.judge import judge
from autograder.student import Here
from course import book, colab, paths, printing
from course.commands.open import open_course
from course.source import chapters_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DESK, PHONE = {"width": 1300, "height": 900}, {"width": 360, "height": 740}
SECONDS = 30_000  # milliseconds that a step may take on a busy machine


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The book, built from nothing in a folder with a space and an é."""
    return book.build(tmp_path_factory.mktemp("café au lait")).parent


@pytest.fixture(scope="module")
def pages(site: Path) -> list[str]:
    found = [path.relative_to(site) for path in site.rglob("*.html")]
    return sorted(path.as_posix() for path in found if path.parts[0] != "_static")


@pytest.fixture(scope="module")
def different(site: Path, pages: list[str]) -> list[str]:
    """The pages worth a look each: of those of the library, which are all alike, the longest."""
    library = sorted((name for name in pages if name.startswith("reference/")), key=lambda n: (site / n).stat().st_size)
    return [name for name in pages if name not in library] + library[-3:]


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(params=["served", "from disk"])
def address(request, site: Path) -> str:
    return site.as_uri() if request.param == "from disk" else request.getfixturevalue("served")


class Reader:
    """A browser page that refuses every host but the book's, and writes down what was missing."""

    def __init__(self, chromium, address: str, viewport=DESK, scheme="light"):
        self.address = address
        self.missing: list[str] = []
        self.context = chromium.new_context(viewport=viewport, color_scheme=scheme)
        self.context.route("**/*", self.only_ours)
        self.page = self.context.new_page()
        self.page.set_default_timeout(SECONDS)
        self.page.on("requestfailed", self.look_after)
        self.page.on("response", self.look_at)
        self.page.on("pageerror", lambda error: self.missing.append(f"script: {error}"))

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def only_ours(self, route) -> None:
        if route.request.url.startswith((self.address, "data:")):
            route.continue_()
        else:
            self.missing.append(f"elsewhere: {route.request.url}")
            route.abort()

    def look_after(self, request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the browser's own: it went to the next page before this came
            self.missing.append(f"{request.failure}: {request.url}")

    def look_at(self, response) -> None:
        if response.status >= 400:
            self.missing.append(f"{response.status}: {response.url}")

    def open(self, name: str):
        self.page.goto(f"{self.address}/{name}", wait_until="load")
        self.page.evaluate("document.fonts.ready.then(() => true)")
        return self.page

    def shoot(self, name: str) -> None:
        """A picture for whoever wants to look: ATTNLAB_SCREENSHOTS names the folder."""
        if folder := os.environ.get("ATTNLAB_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_every_page_is_whole_and_asks_nobody_else(chromium, address, different):
    with Reader(chromium, address) as reader:
        for name in different:
            page = reader.open(name)
            sizes = page.locator("img").evaluate_all("all => all.filter(i => i.complete).map(i => i.naturalWidth)")
            assert all(sizes), name
            assert page.locator("h1:visible").count() == 1, name
    assert reader.missing == []
    assert "chapters/01_softmax.html" in different


def test_formulas_are_set_by_the_browser(chromium, address):
    with Reader(chromium, address) as reader:
        page = reader.open("chapters/01_softmax.html")
        assert page.locator("math").count() > 100
        assert page.locator("main").inner_text().count("$") == 0
        heights = page.locator(".formula math").evaluate_all("all => all.map(m => m.getBoundingClientRect().height)")
        assert min(heights) > 10
        reader.shoot("book-chapter-light")


def test_a_root_ends_where_what_is_under_it_ends(chromium, served):
    with Reader(chromium, served) as reader:
        page = reader.open("chapters/04_scaled_dot_product.html")
        page.locator("details").evaluate_all("all => all.forEach(fold => fold.open = true)")
        air = """() => [...document.querySelectorAll("msqrt")].map(root => {
            const right = node => node.getBoundingClientRect().right;
            return [right(root) + parseFloat(getComputedStyle(root).marginRight) - right(root.lastElementChild),
                    parseFloat(getComputedStyle(root).fontSize)];
        })"""
        page.wait_for_function(f"() => ({air})().every(([air, em]) => 0 < air && air < 0.1 * em)")
        assert page.locator("msqrt").count() > 30


def test_every_sign_of_every_formula_is_drawn_from_the_books_own_font(chromium, served, different):
    """Chromium says which fonts it took: an italic letter, too, is a sign that the font must have."""
    with Reader(chromium, served) as reader:
        browser = reader.context.new_cdp_session(reader.page)
        browser.send("DOM.enable")
        browser.send("CSS.enable")
        drawn = 0
        for name in different:
            reader.open(name).evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
            reader.page.evaluate("document.fonts.ready.then(() => true)")
            page = browser.send("DOM.getDocument")["root"]["nodeId"]
            for formula in browser.send("DOM.querySelectorAll", {"nodeId": page, "selector": "math"})["nodeIds"]:
                for font in browser.send("CSS.getPlatformFontsForNode", {"nodeId": formula})["fonts"]:
                    if not font["isCustomFont"]:
                        html = browser.send("DOM.getOuterHTML", {"nodeId": formula})["outerHTML"]
                        pytest.fail(f"{name}: {font['familyName']} in {html}")
                    drawn += font["glyphCount"]
        assert drawn > 3000


def test_a_brace_is_as_wide_as_what_it_embraces(chromium, served):
    with Reader(chromium, served) as reader:
        page = reader.open("chapters/03_additive_attention.html")
        braces = page.locator("munder[accentunder]")
        assert braces.count() == 5
        for brace in braces.all():
            with Image.open(io.BytesIO(brace.screenshot())) as picture:
                below = picture.convert("L").crop((0, picture.height - 8, picture.width, picture.height))
                left, _, right, _ = below.point(lambda grey: 255 * (grey < 128)).getbbox()
                assert left < 4 and right > picture.width - 4


def test_the_books_font_has_the_root_that_an_element_draws(site):
    pages = [page.read_text(encoding="utf-8") for page in (site / "chapters").glob("*.html")]
    assert any("<msqrt>" in page for page in pages)
    with TTFont(site / "_static" / "stix-two-math.woff") as font:
        assert ord("√") in font.getBestCmap()


def at_rest(page) -> None:
    """Wait until nothing moves or fades in any more."""
    page.evaluate("Promise.all(document.getAnimations().map(moving => moving.finished.catch(() => null)))")


def violations(page) -> list[str]:
    """What axe objects to."""
    at_rest(page)
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {[node['html'][:120] for node in v['nodes'][:3]]}" for v in found]


FEWER = """name => {
    if (name == "exercises.html")
        for (const one of document.querySelectorAll("main section section:nth-of-type(n + 3)")) one.remove();
    for (const one of [...document.querySelectorAll("main .highlight pre")].slice(4)) one.textContent = "";
}"""


# One page of each kind: with a picture, a short and a long chapter, tables, a list of terms, formulas, code, results.
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "chapters/00_start.html",
        "chapters/02_weighted_averaging.html",
        "exercises.html",
        "instructor.html",
        "glossary.html",
        "notation.html",
        "reference/attnlab.softmax.html",
        "search.html?q=temperature",
    ],
)
def test_axe_finds_nothing_by_day_or_by_night_folded_or_unfolded(chromium, site, name, scheme):
    with Reader(chromium, site.as_uri(), scheme=scheme) as reader:
        page = reader.open(name)
        # Sections of the index and lines of code are alike, and axe takes a minute for all of them.
        page.evaluate(FEWER, name)
        assert violations(page) == []
        if page.locator("details:not([open])").count():
            page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
            assert violations(page) == []


def test_the_first_tab_leads_to_the_text_and_every_stop_can_be_seen(chromium, served):
    with Reader(chromium, served) as reader:
        page = reader.open("chapters/01_softmax.html")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
        at_rest(page)
        assert page.locator("#pst-skip-link").bounding_box()["y"] >= 0
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null"), "the side bar is skipped"
        for _ in range(40):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                "(() => { const e = document.activeElement, r = e.getBoundingClientRect(), s = getComputedStyle(e);"
                "return [r.width > 0 && r.height > 0, s.outlineStyle != 'none' || s.boxShadow != 'none',"
                " e.outerHTML.slice(0, 120)]; })()"
            )
            assert seen[:2] == [True, True], seen[2]


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_no_table_that_leads_to_other_pages_is_cut_off(chromium, served, viewport):
    with Reader(chromium, served, viewport=viewport) as reader:
        for name in ("index.html", "reference.html", "notation.html", "student.html"):
            tables = reader.open(name).locator("main table")
            assert tables.count() >= 1
            wide = tables.evaluate_all("all => all.filter(t => t.scrollWidth > t.parentElement.clientWidth).length")
            assert wide == 0, name


def test_paper_is_white_and_unfolded_and_the_screen_is_as_before(chromium, served):
    with Reader(chromium, served, scheme="dark") as reader:
        page = reader.open("chapters/01_softmax.html")
        folded = page.locator("details:not([open])").count()
        assert folded > 10
        page.evaluate(
            "addEventListener('beforeprint', () => { window.seen = [document.documentElement.dataset.theme,"
            " document.querySelectorAll('details:not([open])').length]; })"
        )
        page.pdf()
        assert page.evaluate("window.seen") == ["light", 0]
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert page.locator("details:not([open])").count() == folded


@pytest.fixture(scope="module")
def printed(chromium, site) -> printing.Printed:
    """The book on paper, with three of its chapters. In a thread: in this one, playwright is at work already."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as threads:
        few = [chapter for chapter in chapters_in(paths.CHAPTERS) if chapter.number in (0, 2, 11)]
        patch.setattr(printing, "chapters_in", lambda folder: few)
        return threads.submit(printing.pdf, site).result()


def texts_of(reader: PdfReader) -> list[str]:
    """What stands on each page; its number, which comes first, is right."""
    texts = [" ".join(page.extract_text().split()) for page in reader.pages]
    for number, text in enumerate(texts, 1):
        assert text.startswith(f"{number} ")
    return [text.partition(" ")[2] for text in texts]


def test_the_pdf_has_bookmarks_numbered_pages_and_contents_that_are_right(printed):
    reader = PdfReader(printed.path)
    texts = texts_of(reader)
    assert len(texts) == printed.pages > 20
    assert [round(float(side)) for side in reader.pages[0].mediabox[2:]] == [595, 842], "A4"
    top = [entry.title for entry in reader.outline if not isinstance(entry, list)]
    chapters = ["Start here", "2 · Averaging with weights", "11 · The block"]
    assert top == ["Attention Lab", *chapters, *printing.AFTER.values()]
    below = [inside for inside in reader.outline if isinstance(inside, list)]
    assert [inside[-1].title for inside in below[1:4]] == ["Hints, solutions and answers"] * 3
    for title in top[1:]:
        (number,) = re.findall(rf"{title} (\d+)", texts[0])
        assert texts[int(number) - 1].startswith(title)


def test_in_the_pdf_answers_stand_at_the_end_of_their_chapter_and_links_lead_there(printed):
    reader = PdfReader(printed.path)
    texts = texts_of(reader)
    first = texts.index(next(text for text in texts if text.startswith("Start here")))
    last = next(i for i, text in enumerate(texts) if text.startswith("2 · Averaging")) - 1
    chapter = " ".join(texts[first : last + 1])
    question, answers = chapter.split("Hints, solutions and answers")
    assert "raise NotImplementedError()" in question and "return (a + b) / 2" not in question
    assert "→ A solution" in question and "return (a + b) / 2" in answers and "Hint 2" in answers
    links = [a.get_object() for page in reader.pages for a in page.get("/Annots", [])]
    within = [link for link in links if "/Dest" in link]
    away = {link["/A"]["/URI"] for link in links if link.get("/A", {}).get("/URI")}
    assert len(within) > 100 and all(address.startswith("https:") for address in away), away
    assert all(link["/Dest"] in reader.named_destinations for link in within)


def test_the_pdf_has_the_pictures_and_leaves_nothing_beside_it(printed, site):
    pages = ["chapters/00_start", "chapters/02_weighted_averaging", "chapters/11_block"]
    shown = {
        Path(name).name
        for page in pages
        for name in re.findall(r'src="([^"]+\.png)"', (site / f"{page}.html").read_text())
    }
    found = sum(len(page.images) for page in PdfReader(printed.path).pages)
    assert found >= len(shown) > 5
    assert not printed.path.with_name("print.html").exists()


def test_search_finds_a_word_of_a_chapter(chromium, address):
    with Reader(chromium, address) as reader:
        page = reader.open("search.html?q=temperature")
        page.locator("#search-results li a").first.wait_for()
        assert "1 · Softmax" in page.locator("#search-results").inner_text()


def test_search_is_reached_asked_and_followed_by_keyboard(chromium, address):
    with Reader(chromium, address) as reader:
        page = reader.open("chapters/00_start.html")
        page.keyboard.press("Control+K")
        page.locator("input[type=search]:focus").wait_for()
        page.keyboard.type("temperature")
        page.keyboard.press("Enter")
        page.locator("#search-results li a").first.wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # past the side bar
        for _ in range(8):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('#search-results') !== null"):
                break
        words = page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "search.html" not in url)
        assert words.split(" > ")[0] == page.locator("h1").first.inner_text().rstrip("#").strip()
        assert "temperature" in page.locator("main").inner_text().lower()


def test_night_follows_the_system_and_the_button(chromium, served):
    with Reader(chromium, served, scheme="dark") as reader:
        page = reader.open("chapters/01_softmax.html")
        brightness = "e => getComputedStyle(e).backgroundColor.match(/[0-9.]+/g).map(Number)"
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert sum(page.locator("body").evaluate(brightness)[:3]) < 150
        for shown in page.locator(".cell_output .text_html, .cell_output img").all():
            assert shown.evaluate(brightness)[3:] == [0], "a white box stands on a black page"
        reader.shoot("book-chapter-dark")
        page.get_by_label("Color mode").click()
        page.get_by_text("Light", exact=True).click()
        assert page.locator("html").get_attribute("data-theme") == "light"
        assert sum(page.locator("body").evaluate(brightness)[:3]) > 700


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_code_is_never_cut_and_is_copied_as_it_is(chromium, served, viewport):
    solved = json.loads((paths.SOLUTIONS / "04_scaled_dot_product/04_scaled_dot_product.ipynb").read_text("utf-8"))
    longest = max(("".join(c["source"]) for c in solved["cells"] if c["metadata"].get("tags") == ["demo"]), key=len)
    with Reader(chromium, served, viewport) as reader:
        page = reader.open("chapters/04_scaled_dot_product.html")
        code = page.locator(".cell_input pre:visible")
        assert code.count() > 10
        assert not [p for p in code.all() if p.evaluate("p => p.scrollWidth > p.clientWidth + 1")]
        selected = "p => { getSelection().selectAllChildren(p); return getSelection().toString() }"
        copied = [pre.evaluate(selected).strip() for pre in code.all()]
        assert longest.strip() in copied


def test_no_page_is_wider_than_a_phone(chromium, served, different):
    with Reader(chromium, served, viewport=PHONE) as reader:
        for name in different:
            page = reader.open(name)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        page = reader.open("chapters/01_softmax.html")
        reader.shoot("book-chapter-phone")
        page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        command = page.locator(".take details").bounding_box()
        assert command["x"] + command["width"] <= PHONE["width"]


def test_a_solution_is_folded_behind_what_the_student_finds(chromium, served):
    with Reader(chromium, served) as reader:
        page = reader.open("chapters/01_softmax.html")
        stub = page.locator(".cell.tag_stub").first
        assert "raise NotImplementedError()" in stub.inner_text()
        solution = page.locator(".cell.tag_solution").first
        assert "A solution" in solution.inner_text()
        assert not solution.locator("pre").first.is_visible()
        solution.locator("summary").first.click()
        assert "return weights / np.sum" in solution.locator("pre").first.inner_text()
        assert "### BEGIN" not in page.content()
        hint = page.locator("details", has_text="Hint 1: the idea").first
        assert hint.get_attribute("open") is None


def test_the_notebook_downloads_as_students_get_it(chromium, served):
    with Reader(chromium, served) as reader:
        page = reader.open("chapters/01_softmax.html")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download notebook").click()
        got = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
        assert got == json.loads(paths.derived(paths.NOTEBOOKS, "01_softmax").read_text(encoding="utf-8"))


def test_a_chapter_leads_to_its_notebook_on_colab_and_in_jupyterlab(chromium, site, address):
    notebook = "notebooks/01_softmax/01_softmax.ipynb"
    port = inspect.signature(open_course).parameters["port"].default
    with Reader(chromium, address) as reader:
        page = reader.open("chapters/01_softmax.html")
        cloud = page.get_by_role("link", name="Open in Colab")
        assert cloud.get_attribute("href") == colab.link(notebook)
        there = page.get_by_role("link", name="open the notebook there")
        assert not there.is_visible()
        page.locator("summary", has_text="Open in JupyterLab").press("Enter")
        assert there.get_attribute("href") == f"http://localhost:{port}/lab/tree/{notebook}"
        assert f"python lab.py open {notebook}" in page.locator(".take").inner_text()
        assert (paths.ROOT / notebook).is_file()
        file = page.get_by_role("link", name="Download notebook").get_attribute("href")
        assert (site / "chapters" / file).read_bytes() == (paths.ROOT / notebook).read_bytes()
    assert reader.missing == []


def test_the_link_to_jupyterlab_opens_the_notebook_where_the_course_is_open(chromium, site, server):
    """Clicked in the browser in which the course was opened. The server here has another port than a reader's has."""
    lab, _ = server
    opened_at = book.LAB.partition("/lab/")[0]

    def there(route):
        route.fulfill(status=302, headers={"Location": route.request.url.replace(opened_at, lab)})

    context = chromium.new_context(viewport=DESK)
    context.route(f"{opened_at}/**", there)
    page = context.new_page()
    page.set_default_timeout(4 * SECONDS)
    page.goto(f"{lab}/lab?token=t&reset", wait_until="domcontentloaded")
    page.goto(f"{site.as_uri()}/chapters/01_softmax.html")
    page.locator("summary", has_text="Open in JupyterLab").click()
    page.get_by_role("link", name="open the notebook there").click()
    page.locator(".jp-Notebook h1", has_text="1 · Softmax").wait_for()
    context.close()


def test_previous_and_next_lead_through_the_chapters(chromium, served):
    with Reader(chromium, served) as reader:
        page = reader.open("index.html")
        page.locator("a.right-next").click()
        page.wait_for_url("**/chapters/00_start.html")
        page.locator("a.right-next").click()
        page.wait_for_url("**/chapters/01_softmax.html")
        page.locator("a.left-prev").click()
        page.wait_for_url("**/chapters/00_start.html")


def test_figures_that_move_do_so_without_a_kernel(chromium, served):
    with Reader(chromium, served) as reader:
        page = reader.open("chapters/01_softmax.html")
        figure = page.locator(".attnlab-live[data-live]").first
        before = figure.inner_text()
        figure.locator("input[type=range]").press("ArrowRight")
        assert figure.inner_text() != before
    assert reader.missing == []


def test_headings_are_in_order_and_every_picture_has_words(site, pages):
    for name in pages:
        text = (site / name).read_text(encoding="utf-8")
        main = text[text.index("<main") : text.index("</main>")]
        levels = [int(level) for level in re.findall(r"<h([1-6])\b", main)]
        assert all(b <= a + 1 for a, b in pairwise(levels)), (name, levels)
        for image in re.findall(r"<img\b[^>]*>", main):
            (words,) = re.findall(r'\balt="([^"]*)"', image) or [""]
            assert re.search(r"\w", words) and "_images/" not in words, (name, image[:200])


def test_every_link_within_the_book_leads_somewhere(site, pages):
    texts = {name: (site / name).read_text(encoding="utf-8") for name in pages}
    ids = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in texts.items()}
    for name, text in texts.items():
        for address in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text):
            target, _, anchor = address.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            path = ((site / name).parent / target).resolve() if target else site / name
            assert path.is_file(), (name, address)
            if anchor and path.suffix == ".html":
                assert anchor in ids[path.relative_to(site.resolve() if target else site).as_posix()], (name, address)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_of_the_readme(chromium, scheme):
    """What stands in book/pictures is drawn by this test: see CONTRIBUTING.md."""
    code = (
        "def softmax(x, axis=-1):\n"
        "    e = np.exp(x - x.min(axis=axis, keepdims=True))\n"
        "    return e / e.sum(axis=axis, keepdims=True)"
    )
    softmax = catalogue.by_name()["softmax"]
    wrong = next(m for m in softmax.misconceptions if m.name == "subtracts_the_minimum")
    verdict = judge(softmax, Here.ours(softmax, wrong.function))
    assert verdict.diagnosis is wrong
    dark = scheme == "dark"
    formatter = HtmlFormatter(style="a11y-high-contrast-dark" if dark else "a11y-high-contrast-light", noclasses=True)
    cells = "".join(
        f'<div class="cell">{highlight(source, PythonLexer(), formatter)}</div>' for source in (code, "check(softmax)")
    )
    ink, paper, cell = ("#e6edf3", "#0d1117", "#161b22") if dark else ("#1f2328", "#ffffff", "#f6f8fa")
    style = f"""
        body {{ background: {paper}; color: {ink}; font: 15px/1.5 'DejaVu Sans', sans-serif; margin: 0 }}
        main {{ padding: 8px; width: 731px }}
        .cell {{ border: 1px solid #8886; border-radius: 4px; margin: 0 0 8px; overflow: hidden }}
        .cell div, .cell pre {{ background: {cell} !important; margin: 0; padding: 6px 10px }}
        .cell pre {{ font: 13.5px/1.45 'DejaVu Sans Mono', monospace }}
        code {{ font: .93em 'DejaVu Sans Mono', monospace }}
    """
    context = chromium.new_context(viewport=DESK, color_scheme=scheme, device_scale_factor=2)
    page = context.new_page()
    page.set_content(f"<style>{style}</style><main>{cells}{panel.page(verdict)}</main>")
    main = page.locator("main")
    assert "This is what comes out when the minimum is subtracted." in main.inner_text()
    assert main.bounding_box()["height"] < 900
    if folder := os.environ.get("ATTNLAB_SCREENSHOTS"):
        main.screenshot(path=Path(folder) / f"panel-{scheme}.png")
    context.close()
