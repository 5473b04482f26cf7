"""CONFIG.yaml and KEY=VALUE on the command line: no file is needed, the defaults are the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from htr_ssl.config import Strict

Kind = TypeVar("Kind", bound="Strict")
Given = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG.yaml] [KEY=VALUE]…",
        help="A file of options and single ones, such as data.source=lines; `htr-ssl show` lists all.",
        show_default=False,
    ),
]
Configuration = Annotated[
    list[str],
    typer.Argument(
        metavar="COMMAND|CONFIG.yaml [KEY=VALUE]…",
        help="pretrain, finetune or table for its recipe, or a file; then values that replace it.",
    ),
]


def parted(given: Sequence[str] | None) -> tuple[Path | None, list[str]]:
    """Configuration file, if there is one, and overrides; what has an equals sign and is no file is an override."""
    if given and ("=" not in given[0] or Path(given[0]).is_file()):
        return Path(given[0]), list(given[1:])
    return None, list(given or [])


def loaded(given: Sequence[str] | None, kind: type[Kind]) -> Kind:
    """Checked configuration of one command."""
    from htr_ssl.config.yaml_files import load_config

    return load_config(*parted(given), kind)


def loaded_of_any_kind(given: Sequence[str]) -> Strict:
    """Checked configuration of a command's recipe or of a file; the keys of a file tell its command."""
    from htr_ssl.config.checking import COMMANDS
    from htr_ssl.config.yaml_files import kind_of, load_config

    path, overrides = parted(given)
    if path is not None and str(path) in COMMANDS and not path.is_file():
        return load_config(None, overrides, COMMANDS[str(path)])
    kind: Any = kind_of(path, overrides)
    return load_config(path, overrides, kind)  # type: ignore[no-any-return]
