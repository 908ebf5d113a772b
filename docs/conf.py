"""How the site is built: ``make docs``, or ``python -m handbook``, which also looks at what came out."""

import re
from typing import Any

from pygments.lexers.python import PythonLexer

import otel_stream

project = "otel-stream"
author = "the otel-stream authors"
version = release = otel_stream.__version__
project_copyright = "the otel-stream authors, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["adr/0000-template.md"]
nitpicky = False  # annotations name what is not ours and has no page here
show_warning_types = True
default_role = "code"
highlight_language = "none"

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Settings"]

html_theme = "furo"
html_title = f"otel-stream {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_show_sourcelink = False
html_show_sphinx = False
html_copy_source = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "versions.html",
        "sidebar/scroll-end.html",
    ]
}
templates_path = ["_templates"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b63a5", "color-brand-content": "#0b63a5"},
    "dark_css_variables": {"color-brand-primary": "#6cb6f5", "color-brand-content": "#6cb6f5"},
}

#: A line of a docstring that begins to tell of a field.
_FIELD = re.compile(r"( *)``\w+``: ")


def _list_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Make a list of what a docstring says of one field after the other, a line each."""
    within = False
    for n, text in enumerate(lines):
        begins = _FIELD.match(text)
        within = bool(begins) or (within and bool(text.strip()))
        if begins:
            lines[n] = f"{begins[1]}- {text[len(begins[1]) :]}"
        elif within:
            lines[n] = f"  {text}"


def _show_examples(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Show what is below "Example:" as the code that it is."""
    for n in reversed([n for n, text in enumerate(lines) if text.strip() == "Example:"]):
        lines[n : n + 1] = [lines[n].replace("Example:", "Example::"), ""]


def _keep_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Begin with an empty comment: else napoleon takes words before a colon for the type."""
    if lines and what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]


def _tell_levels(app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:  # noqa: ARG001
    """Say of which level the headings of the navigation are, which who hears the page needs to know."""
    if navigation := context.get("furo_navigation_tree"):
        context["furo_navigation_tree"] = navigation.replace(
            'role="heading"', 'role="heading" aria-level="2"'
        )


def setup(app: Any) -> None:
    """Read docstrings before napoleon does; a notebook's cell is Python that may await."""
    app.add_lexer("ipython", PythonLexer)
    app.connect("html-page-context", _tell_levels, priority=900)
    app.connect("autodoc-process-docstring", _show_examples, priority=300)
    app.connect("autodoc-process-docstring", _list_fields, priority=400)
    app.connect("autodoc-process-docstring", _keep_colons, priority=450)
