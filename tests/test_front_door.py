"""README, index and reference: short, complete, up to date, and in the words of the field."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = sorted(ROOT.glob("docs/*.md"))


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    headings = [line for line in lines if line.startswith("## ")]
    assert headings[0] == "## Install"
    assert headings[-1] == "## Licence"


def test_the_index_leads_to_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in DOCS if page.name != "README.md" and f"]({page.name})" not in index]
    missing = [name for name in missing if f"({name})" not in index]
    assert not missing


@pytest.mark.parametrize("script", ["api_reference.py", "tables.py"])
def test_reference_and_tables_are_made_from_the_code_as_it_is(script):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, f"scripts/{script}", "--check"], cwd=ROOT, env=environment)
    assert done.returncode == 0, f"run python scripts/{script}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda page: page.name)
def test_python_in_the_documentation_uses_names_that_exist(page):
    import htr_ssl

    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        compile(block, page.name, "exec")
        for name in re.findall(r"htr_ssl\.(\w+)", block):
            assert hasattr(htr_ssl, name), name


def test_links_inside_the_benchmarks_lead_somewhere():
    for page in ROOT.glob("benchmarks/*.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_headings_that_are_linked_exist():
    """Anchors in links between our own pages."""
    for page in [*ROOT.glob("*.md"), *DOCS, *ROOT.glob("benchmarks/*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#]*\.md)?#([^)]+)\)", page.read_text(encoding="utf-8")):
            other = (page.parent / target).resolve() if target else page
            titles = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{page.name}: {target}#{anchor}"
