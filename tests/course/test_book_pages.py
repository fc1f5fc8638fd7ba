"""What the book makes of docstrings and of tables, without Sphinx."""

import ast
import sys

import pytest

from course import book

sys.path.insert(0, str(book.PAGES))
import accessible  # Sphinx finds it beside its configuration, too


def test_a_docstring_flows_with_its_code_and_its_stress_and_nothing_else_is_markup():
    tree = ast.parse('"""Import ``gpu_kernels``: each counted a *token* at a time, 2 * 3 * 4, a_b.\n\nx  = y"""')
    assert book.docstring(tree) == (
        r"Import `gpu_kernels`: each counted a *token* at a time, 2 \* 3 \* 4, a\_b." "\n\n```text\nx  = y\n```"
    )


def test_the_table_of_modules_says_what_each_page_says_first():
    rows = book.module_table()
    for name, path in book.modules().items():
        first = book.docstring(ast.parse(path.read_text(encoding="utf-8"))).partition("\n\n")[0]
        assert f"| [`{name}`](reference/{name}.md) | {first} |" in rows


@pytest.mark.parametrize(
    ("head", "left"),
    [
        ("<th></th><th><p></p></th>", ""),
        ("<th></th><th><p>Where</p></th>", "<thead>\n<tr><td></td><th><p>Where</p></th></tr>\n</thead>\n"),
    ],
)
def test_a_head_without_words_goes_and_a_cell_without_words_is_no_head(head, left):
    context = {"body": f"<table>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody></tbody></table>"}
    accessible.repair(None, "", "", context, None)
    assert context["body"] == f"<table>\n{left}<tbody></tbody></table>"
