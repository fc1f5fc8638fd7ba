"""The glossary, the links that lead to it, the notation and the references: they keep step with the chapters."""

import re
import socket
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from course import appendix, book, paths
from course.source import Chapter, chapters_in

CHAPTERS = chapters_in(paths.CHAPTERS)
TERMS = appendix.terms_of((book.PAGES / "glossary.md").read_text(encoding="utf-8"))
ADDRESSES = book.addresses()
LINK = re.compile(r"\{term\}`([^`<]+) <([^`>]+)>`")
PAPER = re.compile(r'(["*])\[([^]]+)\]\((https://[^)\s]+)\)\1')
# How an address is written, by its host. A year in it, of two digits or of four, is the paper's.
KINDS = {
    "aclanthology.org": r"/([A-Z](?P<yy>\d\d)-\d{4}|(?P<year>\d{4})\.[a-z]+-[a-z]+\.\d+)/",
    "arxiv.org": r"/abs/(?P<yy>\d\d)(0[1-9]|1[012])\.\d{4,5}",
    "doi.org": r"/10\.\d{4}/[\w./-]+",
    "jmlr.org": r"/papers/v\d+/[\w-]+\.html",
    "proceedings.mlr.press": r"/v\d+/[a-z]+(?P<yy>\d\d)[a-z]\.html",
    "proceedings.neurips.cc": r"/paper_files/paper/(?P<year>\d{4})/hash/[0-9a-f]{32}-Abstract\.html",
    "transformer-circuits.pub": r"/(?P<year>\d{4})/\w+/index\.html",
    "ufal.mff.cuni.cz": r"/pbml/\d+/art-[a-z-]+\.pdf",
    "www.gutenberg.org": r"/ebooks/\d+",
    "www.jstor.org": r"/stable/\d+",
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    book.stage(folder)
    return folder


def prose_of(page: Path) -> str:
    cells = nbformat.read(page, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def linker(here: int, *rows: str) -> appendix.Linker:
    """A linker of chapter ``here`` with a glossary of these rows: name and forms, and the number of the chapter."""
    table = "".join(f"| {row.rpartition(' ')[0]} | 词 | Words. | {row.rpartition(' ')[2]} |\n" for row in rows)
    chapters = {chapter.number: chapter for chapter in CHAPTERS}
    return appendix.Linker(appendix.terms_of(table), {}, CHAPTERS, chapters[here])


# ------------------------------------------------------------------------------------------------------ the glossary


def test_every_term_has_chinese_words_a_sentence_and_its_place_in_the_alphabet():
    rows = (book.PAGES / "glossary.md").read_text(encoding="utf-8").count("\n| ") - 1
    assert len(TERMS) == rows > 60, "a row of the table is not understood"
    for term in TERMS:
        assert re.fullmatch(r"[\u4e00-\u9fff–（）A-Za-z ]+", term.chinese), term.name
        assert re.search(r"[\u4e00-\u9fff]", term.chinese), f"{term.name} is left in English"
        assert term.meaning.endswith("."), term.name
    assert [term.name for term in TERMS] == sorted((term.name for term in TERMS), key=appendix.plain)
    written = Counter(form.lower() for term in TERMS for form in term.written())
    assert set(written.values()) == {1}, "two terms are written alike"


def test_every_term_in_the_book_leads_to_a_chapter_that_is_there_and_speaks_of_it(staged):
    page = (staged / "glossary.md").read_text(encoding="utf-8")
    shown = re.findall(r"^(\S.*)\n  <span.*\]\((chapters/\w+\.ipynb)\)\*$", page, re.MULTILINE)
    there = {chapter.number: chapter for chapter in CHAPTERS}
    assert [name for name, _ in shown] == [term.name for term in TERMS if term.chapter in there]
    by_name = {term.name: term for term in TERMS}
    for name, link in shown:
        assert (staged / link).is_file(), f"{name} leads to {link}"
        assert link == f"chapters/{there[by_name[name].chapter].name}.ipynb"
        text = " ".join(re.sub(r"[_#>-]", " ", prose_of(staged / link)).lower().split())
        words = [re.sub(r" \(.*|-", lambda m: " " * (m[0] == "-"), form).lower() for form in by_name[name].written()]
        assert any(form in text for form in words), f"{link} never says {name}"


def test_no_page_links_a_term_twice_and_every_link_has_its_entry(staged):
    entries = set(re.findall(r"^(\S.*)\n  <span", (staged / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE))
    for chapter in CHAPTERS:
        linked = Counter(name for _, name in LINK.findall(prose_of(staged / "chapters" / f"{chapter.name}.ipynb")))
        assert linked, f"{chapter.name} leads to the glossary nowhere"
        assert set(linked) <= entries
        assert set(linked.values()) == {1}, f"{chapter.name}: {linked.most_common(1)}"


def test_links_change_nothing_else(staged):
    """Without its links a page says what it says without a glossary, but for the ends of lines within a term."""
    for chapter in CHAPTERS:
        page = prose_of(staged / "chapters" / f"{chapter.name}.ipynb")
        bare = prose_of(paths.derived(paths.SOLUTIONS, chapter.name))
        unlinked = PAPER.sub(r"\1\2\1", LINK.sub(r"\1", page)).replace(book.take(chapter), "")
        assert unlinked.split() == book.within_the_book(bare).split()


@pytest.mark.parametrize(
    "untouched",
    [
        "# A mask",
        "`mask`",
        "```\na mask\n```",
        "$mask$",
        "$$\nmask\n$$",
        "[the mask](x.md)",
        "![a mask](x.png)",
        "<details><summary>Hint</summary>\n\na mask\n\n</details>",
        "| mask | cell |",
        "{download}`mask <x>`",
        "a mask-like thing, unmasked",
        '## Further reading\n\n- A. Author, "A mask", 2014.',
    ],
)
def test_only_prose_is_linked(untouched):
    assert linker(5, "mask 5").link(untouched) == untouched


def test_the_first_use_is_linked_in_whatever_form_and_no_later_one():
    links = linker(5, "mask 5", "query 2")
    assert links.link("**Masks** and\nqueries, `mask`, a mask.") == (
        "**{term}`Masks <mask>`** and\n{term}`queries <query>`, `mask`, a mask."
    )
    assert links.link("Another cell: a mask, a query.") == "Another cell: a mask, a query."


def test_a_longer_term_is_not_taken_for_a_shorter_one_within_it():
    links = linker(5, "mask 5", "causal mask 5")
    text = links.link("A causal\nmask. A causal mask. A mask.")
    assert text == "A {term}`causal mask <causal mask>`. A causal mask. A {term}`mask <mask>`."


def test_a_single_word_is_an_everyday_word_until_its_chapter():
    assert linker(2, "key 5", "causal mask 5").link("A key, a causal mask.") == (
        "A key, a {term}`causal mask <causal mask>`."
    )


def test_terms_of_a_chapter_that_is_not_there_yet_wait_for_it():
    assert linker(5, "wormhole gate 99").link("A wormhole gate.") == "A wormhole gate."
    assert "wormhole" not in appendix.glossary("| wormhole | 虫洞 | A way. | 99 |\n", CHAPTERS)


# ------------------------------------------------------------------------------------------------------ the notation


def test_every_symbol_has_words_a_shape_and_a_chapter(staged):
    page = (staged / "notation.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| [$`]", line)]
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 4 and all(row), row
        number, link = re.fullmatch(r"\[(\d+)\]\((chapters/(?:\w+)\.ipynb)\)", row[3]).groups()
        assert (staged / link).is_file() and Path(link).name.startswith(f"{int(number):02}_"), row


# ---------------------------------------------------------------------------------------------------- the references


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_references_hold_every_line_of_every_reading_list(staged):
    page = PAPER.sub(r"\1\2\1", (staged / "references.md").read_text(encoding="utf-8"))
    cited = dict(re.findall(r"^- (.*)\n((?:  - .*\n?)+)", page, re.MULTILINE))
    for chapter in CHAPTERS:
        source = re.sub(r"^# ?", "", chapter.path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        listed = source.partition("## Further reading")[2].partition("**Next")[0]
        entries = [squeezed(entry) for entry in re.split(r"^- ", listed, flags=re.MULTILINE)[1:]]
        assert len(entries) == listed.count("\n- ")
        mine = squeezed(" ".join(f"{k} {v}" for k, v in cited.items() if f"chapters/{chapter.name}.ipynb" in v))
        for entry in entries:
            words = re.findall(r"\w+", entry.casefold())
            assert words and set(words) <= set(re.findall(r"\w+", mine.casefold())), entry
            titles = re.findall(r"\"[^\"]+\"|\*[^*]+\*", entry)
            remark = re.split(r"\d{4}(?: \([^)]*\))?\.(?: |$)", entry)[-1]
            assert titles and titles[0].casefold() in mine.casefold() and remark in mine, entry


def test_the_references_are_in_the_order_of_the_alphabet_and_a_paper_stands_once(staged):
    page = (staged / "references.md").read_text(encoding="utf-8")
    papers = re.findall(r"^- (.*)$", page, re.MULTILINE)
    names = [appendix.surname(paper) for paper in papers]
    assert names == sorted(names)
    titles = [appendix.plain(re.search(r"\"[^\"]+\"|\*[^*]+\*", paper)[0]) for paper in papers]
    assert len(set(titles)) == len(titles)
    assert appendix.surname("Ł. Kaiser, A. Zeta") == appendix.surname("Ł. Kaiser et al.") and names[0] < names[-1]


def test_an_entry_may_name_two_papers_and_a_name_or_a_venue(tmp_path):
    path = tmp_path / "01_softmax.py"
    path.write_text(
        '# %% [markdown]\n# # 1 · Softmax\n#\n# **Why?**\n#\n# ## Further reading\n#\n# - A. Bee, "One", 1964, and\n'
        '#   C. Dee, "Two" (T5), 2020 (ICLR 2021). Both.\n# - M. Éa, *Book*, 1902.\n#\n# **Next:** more.\n',
        encoding="utf-8",
    )
    link = "[1 · Softmax](chapters/01_softmax.ipynb)"
    assert appendix.references([Chapter(path)], {}) == (
        f'- A. Bee, "One", 1964\n  - {link}: Both.\n\n- C. Dee, "Two", 2020\n  - {link} (T5) (ICLR 2021): Both.\n\n'
        f"- M. Éa, *Book*, 1902\n  - {link}"
    )


# ----------------------------------------------------------------------------------------- where the papers can be read


def test_every_address_is_that_of_a_paper_that_a_chapter_lists_written_as_there():
    listed: dict[str, set[str]] = {}
    for cite in (cite for chapter in CHAPTERS for cite in appendix.cites_in(chapter)):
        listed.setdefault(appendix.plain(cite.title), set()).add(cite.title[1:-1])
    assert len(ADDRESSES) > 80
    for title in ADDRESSES:
        assert listed.get(appendix.plain(title)) == {title}, f"book/papers.toml: no chapter lists {title}, spelled so"


def test_every_address_is_written_as_its_host_writes_it_and_has_the_year_of_its_paper():
    years: dict[str, set[int]] = {}
    for cite in (cite for chapter in CHAPTERS for cite in appendix.cites_in(chapter)):
        years.setdefault(cite.title[1:-1], set()).add(int(cite.year))
    for title, address in ADDRESSES.items():
        scheme, _, place = address.partition("://")
        host, slash, path = place.partition("/")
        written = re.fullmatch(KINDS.get(host, "(?!)"), slash + path)
        assert scheme == "https" and written, f"{title}: {address}"
        two, four = (written.groupdict().get(name) for name in ("yy", "year"))
        year = int(four or 0) or (int(two) + (2000 if int(two) < 50 else 1900) if two else max(years[title]))
        # A preprint may be older than the paper, by a year or so.
        assert min(years[title]) - 2 <= year <= max(years[title]), f"{title}: {address} is of {year}"
    assert len(set(ADDRESSES.values())) == len(ADDRESSES), "two papers have one address"


def test_titles_with_an_address_lead_there_on_the_page_of_references_and_in_every_reading_list(staged):
    page = (staged / "references.md").read_text(encoding="utf-8")
    assert {title: address for _, title, address in PAPER.findall(page)} == ADDRESSES
    for chapter in CHAPTERS:
        prose, _, reading = prose_of(staged / "chapters" / f"{chapter.name}.ipynb").partition("## Further reading")
        linked = {squeezed(title): address for _, title, address in PAPER.findall(reading)}
        titles = {cite.title[1:-1] for cite in appendix.cites_in(chapter)}
        assert linked == {title: ADDRESSES[title] for title in titles & set(ADDRESSES)}
        assert not PAPER.search(prose)


@pytest.mark.parametrize(
    "title", ['On "Seeing"', "Short: a Tool's Use?", "A (B) [C] + D", "1.5 Bits", "What if…", r"A \\ B | C+"]
)
def test_a_title_with_signs_in_it_leads_to_its_address(title):
    addresses = {title: "https://doi.org/10.1000/x"}
    assert appendix.with_addresses(f'A. Bee, "{title}", 1964.', addresses) == (
        f'A. Bee, "[{title}](https://doi.org/10.1000/x)", 1964.'
    )
    assert appendix.with_addresses(f"*{title}*", addresses) == f"*[{title}](https://doi.org/10.1000/x)*"


def test_a_title_may_be_broken_over_lines_and_only_a_whole_one_is_linked():
    addresses = {"One Two": "https://arxiv.org/abs/1401.00001"}
    assert appendix.with_addresses('"One\n  Two"', addresses) == '"[One\n  Two](https://arxiv.org/abs/1401.00001)"'
    for other in ('"One Two Three"', "One Two", '"Zero: One Two"', '"One Two*', '"OneTwo"'):
        assert appendix.with_addresses(other, addresses) == other


def test_titles_are_linked_where_papers_are_listed_and_not_in_prose():
    links = appendix.Linker([], {"One": "https://arxiv.org/abs/1401.00001"}, CHAPTERS, CHAPTERS[0])
    assert links.link('See "One".\n\n## Further reading\n\n- A. Bee, "One", 1964.') == (
        'See "One".\n\n## Further reading\n\n- A. Bee, "[One](https://arxiv.org/abs/1401.00001)", 1964.'
    )


def test_nothing_is_fetched_for_an_address(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the book asks somebody else")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    vaswani = ADDRESSES["Attention Is All You Need"]
    assert vaswani in book.filled("<!-- references -->", CHAPTERS)
    assert vaswani in book.chapter_page(next(one for one in CHAPTERS if one.number == 4), CHAPTERS)
