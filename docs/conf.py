"""The settings of Sphinx.  `make docs`, or `sphinx-build -n -W docs OUT`."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "batchudp-handler"
author = "The batchudp-handler maintainers"
project_copyright = author
release = version_of("batchudp-handler")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "from_code",
]

source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpick_ignore_regex = [
    # names of the standard library, which are not looked up over the network
    (r"py:.*", r"(logging|socket|socketserver|collections|typing|enum|pathlib)(\..*)?"),
    # our own classes in signatures; those that people use are shown as tables, by `from_code`
    (r"py:(class|exc)", r"[A-Z]\w*"),
    # the words after "Returns:", which napoleon takes for a type
    (r"py:class", r".* .*"),
]

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"batchudp-handler {release}"
html_theme_options = {"navigation_with_keys": True}
