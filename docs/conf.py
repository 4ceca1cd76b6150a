"""The documentation site: `sphinx-build -W docs build/docs`. Sphinx, since it reads docstrings and click's options as
they are, links between them, and fails on a broken reference."""

from importlib.metadata import version as installed

project = "flame_rank"
author = "the flame_rank authors"
project_copyright = "the flame_rank authors, Apache-2.0"
version = release = installed("flame-rank")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"flame_rank {version}"
exclude_patterns = ["build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
