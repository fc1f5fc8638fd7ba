"""Sphinx, for the book. ``attnlab book`` gathers the pages first: see course/book.py."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

project = "Attention Lab"
author = "the authors of Attention Lab"
project_copyright = "the authors of Attention Lab; text CC BY 4.0, code Apache-2.0"
release = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]["version"]
language = "en"

extensions = ["myst_nb", "formulas", "accessible", "lines"]
templates_path = ["_templates"]
exclude_patterns = ["chapters/_download"]

# The chapters are shown as they were executed by `attnlab build`.
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # nothing from elsewhere: our figures bring their few lines of script along
nb_code_prompt_show = "The code"
nb_code_prompt_hide = "Fold the code"
nb_merge_streams = True
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
myst_update_mathjax = False

html_math_renderer = "mathml"
html_theme = "sphinx_book_theme"
html_title = project
html_favicon = "_static/mark.svg"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_js_files = [("print.js", {"defer": "defer"}), ("roots.js", {"defer": "defer"})]
html_sidebars = {"**": ["home.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
html_copy_source = False
html_use_index = False  # the exercises and the library have pages of their own that say more
html_domain_indices = False
html_show_sourcelink = False
html_permalinks_icon = "#"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "use_download_button": False,  # each chapter links to its notebook
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navigation_with_keys": False,
}
# The theme's own style sheet for code, for light and for dark pages: both with enough contrast.
pygments_style = "a11y-high-contrast-light"

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
add_module_names = False
