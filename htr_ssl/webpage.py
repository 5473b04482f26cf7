"""HTML pages from the templates of this package: one file each, nothing is fetched, nothing runs.

Every template extends base.html, whose pages are light or dark as the reader's system is, and fit a phone. Texts are
escaped; what is HTML already is `markupsafe.Markup`.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from htr_ssl import __version__


def render(template: str, **values: Any) -> str:
    """Page of a template, such as check.html, filled with the values."""
    return _environment().get_template(template).render(version=__version__, **values)


def part(name: str, **values: Any) -> Markup:
    """Piece of a page: the macro `name` of parts.html."""
    macro = getattr(_environment().get_template("parts.html").module, name)
    return Markup(macro(**values))


def picture_source(data: bytes, kind: str) -> str:
    """Address of a picture that holds the picture itself; `kind` is png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("htr_ssl", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
