"""NOTICE names everything that is shipped beside code and text of our own."""

from pathlib import Path

import htr_ssl

PACKAGE = Path(htr_ssl.__file__).parent
OWN = {".py", ".pyc", ".typed", ".md", ".html", ".css", ".yaml"}


def test_weights_and_images_of_the_package_are_named():
    notice = (PACKAGE.parent / "NOTICE").read_text(encoding="utf-8")
    shipped = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in OWN]
    assert shipped
    missing = [name for path in shipped if (name := path.relative_to(PACKAGE.parent).as_posix()) not in notice]
    assert not missing
