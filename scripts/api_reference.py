"""Writes docs/api.md from the docstrings: ``python scripts/api_reference.py``; ``--check`` only compares."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import htr_ssl

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
HEAD = """# Reference of the Python interface

Made from the docstrings by `python scripts/api_reference.py`; do not edit it here. [Python](python.md) is the
introduction. `htr-ssl show CONFIG.yaml` explains every key of a configuration.
"""
FUNCTIONS = ("pretrain", "finetune", "evaluate", "evaluate_pages", "table", "load", "transcribe")


def reference() -> str:
    """The whole page."""
    parts = [HEAD, "## Functions\n", *(_function(name, getattr(htr_ssl, name)) for name in FUNCTIONS)]
    classes = [name for name in htr_ssl.__all__ if name not in FUNCTIONS and not name.endswith("Config")]
    parts += ["## Classes\n", *(_class(name, getattr(htr_ssl, name)) for name in classes)]
    return "\n".join(parts)


def _function(name: str, function: Any, level: str = "###") -> str:
    return f"{level} `{name}`\n\n```text\n{name}{_signature(function)}\n```\n\n{_text(function)}\n"


def _class(name: str, kind: type) -> str:
    methods = [
        _function(f"{name}.{key}", value, "####")
        for key, value in vars(kind).items()
        if not key.startswith("_") and inspect.isfunction(value)
    ]
    return "\n".join([f"### `{name}`\n\n{_text(kind)}\n", *methods])


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parts = []
    for name, parameter in signature.parameters.items():
        if name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        star = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{star}{name}: {parameter.annotation}{default}")
    text = f"({', '.join(parts)})"
    text = text if len(text) < 80 else "(\n" + "".join(f"    {part},\n" for part in parts) + ")"
    return f"{text} -> {signature.return_annotation}"


def _text(thing: Any) -> str:
    """A docstring as Markdown: its sections become lists."""
    lines: list[str] = []
    listed = False
    for line in (inspect.getdoc(thing) or "").splitlines():
        head = line.strip().removesuffix(":")
        if line == f"{head}:" and head in ("Args", "Raises", "Returns", "Attributes"):
            names = {"Args": "Arguments", "Raises": "Raises", "Returns": "Returns", "Attributes": "Attributes"}
            lines.append(f"{names[head]}:\n")
            listed = True
        elif listed and line.startswith("    ") and not line.startswith("     "):
            name, colon, meaning = line.strip().partition(": ")
            lines.append(f"- `{name}`: {meaning}" if colon else f"- {name}")
        else:
            listed = listed and bool(line.strip())
            lines.append(f"  {line.strip()}" if listed else line)
    return "\n".join(lines).strip()


def main() -> int:
    """Writes the page; with --check, says whether it is up to date."""
    text = reference()
    if "--check" in sys.argv[1:]:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
