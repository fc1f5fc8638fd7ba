"""Nothing of a student's runs in nbgrader's pages: formgrader's, where an instructor is logged in, and feedback.

An attack's page is compared with that of an innocent submission: what can run in it must be the same, word for word.
"""

import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from classes import NAME, code, graded, hand_in, lab, markdown, nbgrader
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook
from nbgrader.server_extensions.formgrader import handlers
from submissions import SOFTMAX
from traitlets.config import Config

EVIL = (
    "<script>alert('evil')</script>",
    "<img src=x onerror=alert('evil')>",
    "<svg/onload=alert('evil')>",
    "</pre></code></textarea></title><script>alert('evil')</script>",
    "\"'><iframe srcdoc='<script>alert(`evil`)</script>'></iframe>",
    "<details open ontoggle=alert('evil')><summary>evil</summary></details>",
    "<b style='background:url(javascript:evil)' onclick=evil>evil</b>",
    "<meta http-equiv=refresh content='0;url=javascript:evil'>",
    "<form action=javascript:evil><button formaction=javascript:evil>evil</button></form>",
    "<a href='javascript:evil'>evil</a>",
    "<base href='https://evil.example'>",
    "<!--><script>evil</script>-->",
)
LINKS = (
    "[a](javascript:evil)",
    "[a]( JaVaScRiPt:evil)",
    "[a](<javascript:evil>)",
    "[a](<java script:evil>)",
    "[a](javascript&colon;evil)",
    "[a](java&Tab;script:evil)",
    "[a](javascript\\:evil)",
    "[a](vbscript:evil)",
    "[a](data:text/html;base64,PHNjcmlwdD5ldmlsPC9zY3JpcHQ+)",
    "![a](javascript:evil)",
    '![a](x"onerror="evil)',
    "[a](https://x.example 'evil\" onclick=\"evil')",
    "[b]\n\n[b]: javascript:evil",
    "[c]\n\n[c]:\njavascript:evil",
    "[d]\n\n[d]: <javascript:evil>",
    "<javascript:evil>",
    "$</script><script>evil</script>$",
    "$$\n<img src=x onerror=evil>\n$$",
    "```<script>evil\n<script>evil</script>\n```",
    "`` ` ``<script>evil</script>",
    "![a](attachment:evil.svg)",
)
ACTIVE = {"script", "iframe", "object", "embed", "form", "base", "meta", "svg", "math", "link", "style", "template"}
ADDRESSES = {"href", "src", "action", "formaction", "xlink:href", "srcdoc", "data", "poster", "background", "srcset"}


class Page(HTMLParser):
    """What of a page can run or load: active elements with their text, handlers, addresses that are no plain page."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ACTIVE:
            self.found.append(f"<{tag} {sorted((k, v or '') for k, v in attrs)}>")
        self.within = tag if tag in ("script", "style") else ""
        for name, value in attrs:
            address = "".join((value or "").split()).lower()
            plain = address.startswith(("http:", "https:", "#", "mailto:", "data:image/png")) or ":" not in address
            if name.startswith("on") or (name in ADDRESSES and not plain) or name == "srcdoc":
                self.found.append(f"{tag} {name}={value}")
            if name == "style" and value and ("url(" in value or "expression" in value):
                self.found.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_comment(self, data: str) -> None:
        self.found.append(f"<!--{data}-->")  # browsers end some of them early

    def handle_data(self, data: str) -> None:
        if self.within:
            self.found.append(data)


def formgrader_page(course: Path, student: str) -> str:
    """As formgrader renders a submission: its exporter, its template, its resources."""
    config = Config()
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    resources = {
        "assignment_id": NAME,
        "notebook_id": NAME,
        "submission_id": "0",
        "index": 0,
        "total": 1,
        "base_url": "",
        "student": student,
        "last_name": None,
        "first_name": None,
        "notebook_path": f"autograded/{student}/{NAME}/{NAME}.ipynb",
    }
    path = course / "autograded" / student / NAME / f"{NAME}.ipynb"
    return HTMLExporter(config=config).from_filename(str(path), resources=resources)[0]


def feedback_page(course: Path, student: str) -> str:
    return (course / "feedback" / student / NAME / f"{NAME}.html").read_text(encoding="utf-8")


def attack() -> dict:
    """Markup wherever a student's words can stand: cells, outputs, names, messages, metadata, the essay."""
    words = repr("\n".join(EVIL))
    answers = {
        "softmax": f"def softmax(x, axis=-1):\n    print({words})\n    raise ValueError({words})",
        "log_softmax": f"# {' '.join(EVIL)}\ndef log_softmax(x, axis=-1):\n    return type({words}, (), {{}})()",
        "softmax_temperature": f"def softmax_temperature(x, tau, axis=-1):\n    return {{{words}: {words}}}",
        "softmax_vjp": f"E = type({words}, (Exception,), {{}})\ndef softmax_vjp(p, g, axis=-1):\n    raise E({words})",
    }
    notebook = lab(answers, essay="\n\n".join((*EVIL, *LINKS)))
    shown = f"""
from IPython.display import HTML, SVG, Javascript, Latex, Markdown, display
for kind in (HTML, Javascript, Latex, Markdown):
    display(kind({words}))
display({{"text/html": {words}, "image/svg+xml": {words}, "image/png": {words}, "application/javascript": "evil"}},
        metadata={{"image/png": {{"width": "1 onload=evil"}}}}, raw=True)
display({{"text/plain": {words}}}, raw=True, metadata={{"needs_background": {words}}})
print({words})
{words}
"""
    stale = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/html": "".join(EVIL), "application/javascript": "evil"},
    }
    own = [
        code(shown, {"tags": ["\"onclick='evil'"], "collapsed": "<script>evil</script>"}),
        {**code("1", {}), "outputs": [stale]},
        code(f"raise RuntimeError({words})", {}),
        {"cell_type": "raw", "metadata": {"format": "text/html"}, "source": "".join(EVIL)},
        *(markdown(text, {}) for text in (*EVIL, *LINKS)),
    ]
    notebook["cells"] += [{**cell, "id": f"own-{i}"} for i, cell in enumerate(own)]
    notebook["metadata"] |= {"title": "".join(EVIL), "language_info": {"name": "".join(EVIL), "pygments_lexer": "'><b"}}
    notebook["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"</script>": {}}}}
    return notebook


@pytest.fixture(scope="module", params=["ours", pytest.param("nbgrader", marks=pytest.mark.slow)])
def course(request, template, tmp_path_factory) -> Path:
    """An innocent submission and an attack, graded by our loop or by nbgrader's command."""
    root = tmp_path_factory.mktemp("pages") / "course"
    shutil.copytree(template, root)
    hand_in(root, "innocent", lab({"softmax": SOFTMAX}))
    hand_in(root, "attacker", attack())
    if request.param == "ours":
        assert not any(result.error for result in graded(root).values())
    else:
        nbgrader(root, "autograde", NAME)
    nbgrader(root, "generate_feedback", NAME)
    return root


@pytest.mark.parametrize("page", [formgrader_page, feedback_page])
def test_nothing_of_a_student_runs_in_a_page_of_nbgraders(course, page):
    innocent, attacker = (page(course, student) for student in ("innocent", "attacker"))
    assert "evil" in attacker  # the words are there to be read …
    assert sorted(set(Page(attacker).found)) == sorted(set(Page(innocent).found))  # … and do nothing


def test_a_page_with_markup_in_it_would_be_noticed(course):
    for evil in EVIL:
        assert Page(evil).found, evil


@pytest.fixture(params=["ours", pytest.param("nbgrader", marks=pytest.mark.slow)])
def grader(request):
    """Grades a class, and says what was said about it."""
    if request.param == "ours":
        return lambda root: "".join(result.error for result in graded(root).values())
    return lambda root: nbgrader(root, "autograde", NAME, status=1)


def test_a_student_id_that_is_markup_is_refused(template, tmp_path, grader):
    """nbgrader's pages write ids as they are. The others are graded, whatever letters their ids have."""
    root = tmp_path / "course"
    shutil.copytree(template, root)
    odd, plain = ["<img src=x onerror=evil>", '";evil;"', "a\\", "a\x1b[2Jb"], ["a'b", "çelik 7@x.example"]
    for name in (*odd, *plain):
        hand_in(root, name, lab({}))
    said = grader(root)
    assert said.count("is no student id") >= len(odd)
    assert {path.parent.name for path in (root / "autograded").glob(f"*/{NAME}")} == set(plain)
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        assert {student.id for student in gradebook.students} == set(plain)
