"""The book's last pages, and the links that lead to them.

``book/glossary.md`` is a table with a row a term. On the way into the book the table becomes Sphinx's glossary, which
gives every term an address, and in each chapter the first use of a term becomes a link to it. The chapters' sources
know nothing of this. The page of references is gathered from what the chapters list under *Further reading*; there and
on that page a title leads to the address that ``book/papers.toml`` has for it. Nothing is fetched.
"""

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import jupytext

from course.readme import heading_of
from course.source import Chapter

ROW = re.compile(r"^\| (?!Term )(.+?) \| (.+?) \| (.+?) \| (\d+) \|$", re.MULTILINE)
TABLE = re.compile(r"(?:^\|.*\|$\n?)+", re.MULTILINE)
# What is no prose: code, folded text, formulas, links and pictures, roles, tags, headings, and rows of tables.
NO_PROSE = (
    r"^```.*?^```|<details>.*?</details>|<!--.*?-->|\$\$.*?\$\$|(?:\{\w+\})?(`+)(?:(?!\1).)+?\1"
    r"|!?\[[^\]]*\]\([^)]*\)|\$[^$]*\$|<[^<>\n]+>|^#+ [^\n]*|^\|[^\n]*"
)
READING = re.compile(r"^## Further reading\n+(.*?)(?=^#|^\*\*Next|\Z)", re.MULTILINE | re.DOTALL)
# A. Author, B. Author, "Title" (NAME), 2014 (VENUE 2015), and so on for a second paper of the same entry.
PAPER = re.compile(
    r"(?:[,;] (?:and )?)?(?P<authors>(?:[^\"*,]+, )*?[^\"*,]+), "
    r"(?P<title>\"[^\"]+\"|\*[^*]+\*)(?: (?P<name>\([^)]*\)))?, (?P<year>\d{4})(?: (?P<venue>\([^)]*\)))?"
)


# ------------------------------------------------------------------------------------------------------ the glossary


@dataclass(frozen=True)
class Term:
    """A row of the glossary: a word and its other forms, and the chapter that explains it."""

    name: str
    forms: tuple[str, ...]
    chinese: str
    meaning: str
    chapter: int

    def written(self) -> tuple[str, ...]:
        """The ways in which the term is written in a text: those of its row, and their plurals."""
        names = (self.name, *self.forms)
        return (*names, *(re.sub("y$", "ie", name) + "s" for name in names))

    def means_this_in(self, chapter: int) -> bool:
        """A single word may be an everyday one, until a chapter has given it its meaning."""
        return chapter >= self.chapter or bool(re.search(r"[ –-]", self.name))


def terms_of(page: str) -> list[Term]:
    """The rows of the glossary's table."""
    found = []
    for names, chinese, meaning, chapter in ROW.findall(page):
        name, *forms = names.split(", ")
        found.append(Term(name, tuple(forms), chinese, meaning, int(chapter)))
    return found


def glossary(page: str, chapters: list[Chapter]) -> str:
    """The page with its table made into Sphinx's glossary. Terms of chapters that are not there yet wait for them."""
    return TABLE.sub(lambda _: "\n".join(_entries(terms_of(page), chapters)) + "\n", page, count=1)


def _entries(terms: list[Term], chapters: list[Chapter]) -> list[str]:
    by_number = {chapter.number: chapter for chapter in chapters}
    lines = ["```{glossary}"]
    for term in terms:
        if term.chapter in by_number:
            where = chapter_link(by_number[term.chapter])
            lines += [term.name, f'  <span lang="zh-Hans">{term.chinese}</span> · {term.meaning} *{where}*', ""]
    return [*lines[:-1], "```"]


def chapter_link(chapter: Chapter) -> str:
    return f"[{heading_of(chapter)[0]}](chapters/{chapter.name}.ipynb)"


class Linker:
    """Makes links of the first uses of a chapter's terms and of the papers that it lists, cell by cell."""

    def __init__(self, terms: list[Term], addresses: Mapping[str, str], chapters: list[Chapter], here: Chapter) -> None:
        self.addresses = addresses
        there = {chapter.number for chapter in chapters}
        usable = [term for term in terms if term.chapter in there]
        self.waiting = {term.name for term in usable if term.means_this_in(here.number)}
        self.names = {form.lower(): term.name for term in usable for form in term.written()}
        # The longest comes first, so that "additive attention" is never taken for a shorter term within it.
        longest = sorted(self.names, key=len, reverse=True)
        words = "|".join(re.escape(form).replace(r"\ ", r"(?:[ \t]+|[ \t]*\n[ \t]*)") for form in longest) or "(?!)"
        self.pattern = re.compile(
            rf"{NO_PROSE}|(?<![\w-])(?P<term>{words})(?![\w-])", re.MULTILINE | re.DOTALL | re.IGNORECASE
        )

    def link(self, text: str) -> str:
        """The text of a cell with its links: of terms in its prose, of titles where it lists papers."""
        prose, reading, papers = text.partition("## Further reading")
        return self.pattern.sub(self._linked, prose) + reading + with_addresses(papers, self.addresses)

    def _linked(self, found: re.Match[str]) -> str:
        if found["term"] is None:
            return found[0]
        words = " ".join(found[0].split())
        name = self.names[words.lower()]
        if name not in self.waiting:
            return found[0]
        self.waiting.remove(name)
        return f"{{term}}`{words} <{name}>`"


# ---------------------------------------------------------------------------------------------------- the references


@dataclass(frozen=True)
class Cite:
    """What one chapter says of one paper."""

    chapter: Chapter
    authors: str
    title: str
    year: str
    note: str
    remark: str


def reading_of(chapter: Chapter) -> list[str]:
    """The entries that a chapter lists under Further reading, each on one line."""
    cells = jupytext.reads(chapter.path.read_text(encoding="utf-8"), fmt="py:percent").cells
    listed = "\n".join(m[1] for cell in cells if cell.cell_type == "markdown" for m in READING.finditer(cell.source))
    return [" ".join(entry.split()) for entry in re.split(r"^- ", listed, flags=re.MULTILINE)[1:]]


def cites_in(chapter: Chapter) -> list[Cite]:
    """The papers of a chapter's reading list. An entry may name two, and what it says is then said of both."""
    found = []
    for entry in reading_of(chapter):
        papers, end = [], 0
        while paper := PAPER.match(entry, end):
            papers.append(paper)
            end = paper.end()
        remark = entry[end:].lstrip(". ")
        for paper in papers:
            note = " ".join(filter(None, (paper["name"], paper["venue"])))
            found.append(Cite(chapter, paper["authors"], paper["title"], paper["year"], note, remark))
        if not papers:  # a page or a program rather than a paper: as it is written
            found.append(Cite(chapter, remark, "", "", "", ""))
    return found


def addresses_of(table: str) -> dict[str, str]:
    """Where the papers of ``book/papers.toml`` can be read, by their titles."""
    return tomllib.loads(table)


def with_addresses(text: str, addresses: Mapping[str, str]) -> str:
    """The text with its titles, "of papers" and *of books*, as links to their addresses. A line may end within one."""
    titles = "|".join(re.escape(title).replace(r"\ ", r"\s+") for title in addresses) or "(?!)"

    def linked(found: re.Match[str]) -> str:
        address = addresses[" ".join(found["title"].split())]
        return f"{found['mark']}[{found['title']}]({address}){found['mark']}"

    return re.sub(rf'(?P<mark>["*])(?P<title>{titles})(?P=mark)', linked, text)


def references(chapters: list[Chapter], addresses: Mapping[str, str]) -> str:
    """Every paper that a chapter lists, by its first author, with what each chapter says of it."""
    papers: dict[str, list[Cite]] = defaultdict(list)
    for chapter in chapters:
        for cite in cites_in(chapter):
            papers[plain(cite.title or cite.authors)].append(cite)
    order = sorted(papers.values(), key=lambda cites: (surname(cites[0].authors), cites[0].year, cites[0].title))
    return "\n\n".join(reference(cites, addresses) for cites in order)


def reference(cites: list[Cite], addresses: Mapping[str, str]) -> str:
    """One paper and, below it, the chapters that list it."""
    years = " and ".join(sorted({cite.year for cite in cites}))
    title = with_addresses(cites[0].title, addresses)
    lines = ["- " + ", ".join(filter(None, (cites[0].authors, title, years)))]
    for cite in cites:
        note = f" {cite.note}" if cite.note else ""
        lines.append(f"  - {chapter_link(cite.chapter)}{note}" + (f": {cite.remark}" if cite.remark else ""))
    return "\n".join(lines)


def surname(authors: str) -> str:
    """What a list of authors is sorted by: the first one's name without initials and accents."""
    first = re.split(r",| et al| and ", authors)[0]
    return plain(" ".join(word for word in first.split() if not word.endswith(".")))


def plain(words: str) -> str:
    """Letters and digits only, small, without accents."""
    return re.sub(r"[^\w ]|_", "", unicodedata.normalize("NFKD", words).casefold())
