"""Configuration files: strict YAML and ``key=value`` overrides in, checked models out, and back to complete YAML.

Every mistake of a file and its overrides is reported at once: its place, the key, what is wrong, what may be meant.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from htr_ssl.config.checking import COMMANDS, Model, checked, plain
from htr_ssl.config.plugin_places import PACKAGES, Place, is_model, members, plugin_places
from htr_ssl.config.schema import Strict
from htr_ssl.config.yaml_tree import Keys, Tree, dotted, dump, parse
from htr_ssl.errors import UserError

_COMMENT = 100  # columns of a comment


class Row(NamedTuple):
    """One value of a configuration, for a person to read."""

    key: str
    value: str
    meaning: str


def load_config(path: Path | None, overrides: Sequence[str], model: type[Model]) -> Model:
    """Checked configuration, the options of its plugins complete.

    Args:
        path: YAML file; None if there are only overrides.
        overrides: ``train.lr=1e-3``, ``rows.simclr.0.train.steps=10``; the later wins.
        model: kind of configuration, or a plugin's ``Config``.

    Raises:
        UserError: the file cannot be read, or it or an override is wrong; one line per mistake.
    """
    return checked(_read(path, overrides), model)


def kind_of(path: Path | None, overrides: Sequence[str] = ()) -> type[Strict]:
    """Kind of configuration, guessed from its keys: rows → table, method → pretrain, else finetune.

    Raises:
        UserError: the file cannot be read.
    """
    value = _read(path, overrides).value
    keys = value.keys() if isinstance(value, dict) else set()
    return COMMANDS["table" if "rows" in keys else "pretrain" if "method" in keys else "finetune"]


def dump_config(config: BaseModel) -> str:
    """Complete YAML, accepted again by `load_config`."""
    return dump(plain(checked(Tree(plain(config)), type(config))))


def commented(config: BaseModel) -> str:
    """Complete YAML with the meaning of every key above it, accepted again by `load_config`."""
    value = plain(checked(Tree(plain(config)), type(config)))
    places = {place.path: place for place in plugin_places(value, type(config), ()) if place.options}
    return "\n".join(_block(value, type(config), (), places)) + "\n"


def _block(value: Any, annotation: Any, path: Keys, places: dict[Keys, Place]) -> Iterator[str]:
    """Lines of everything that has lines of its own below a value, not indented."""
    for key, inner, kind, meaning in _entries(value, annotation, path, places):
        yield from (f"# {line}" for line in textwrap.wrap(meaning, _COMMENT - 2 * len(path)))
        below = list(_block(inner, kind, (*path, key), places))
        line = dump(inner, flow=True)
        if isinstance(value, list):
            yield from (("  " if number else "- ") + text for number, text in enumerate(below or [line]))
        elif below:
            yield f"{dump(key, flow=True)}:"
            yield from (f"  {text}" for text in below)
        else:
            yield f"{dump(key, flow=True)}: {line}"


def _entries(value: Any, annotation: Any, path: Keys, places: dict[Keys, Place]) -> list[tuple[Any, Any, Any, str]]:
    """Key, value, kind and meaning of everything that has lines of its own below a value; empty if it is one line."""
    if place := places.get(path):
        model = place.config()
        named = [("name", place.options["name"], str, "")] if place.named else []
        own = {name: field for name, field in model.model_fields.items() if name in place.options}
        return named + [(name, place.options[name], field.annotation, _meaning(field)) for name, field in own.items()]
    for member in members(annotation):
        if is_model(member) and isinstance(value, dict):
            fields = member.model_fields.items()
            return [(name, value[name], field.annotation, _meaning(field)) for name, field in fields if name in value]
        if value and get_origin(member) in (dict, list) and _holds_model(member):
            inner = get_args(member)[-1]
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            return [(key, item, inner, "") for key, item in pairs]
    return []


def describe(config: BaseModel | type[BaseModel]) -> list[Row]:
    """Every key with its value (the default, for a kind of configuration) and meaning, plugins' options included."""
    tree, model = (Tree({}), config) if isinstance(config, type) else (Tree(plain(config)), type(config))
    value = plain(checked(tree, model))
    places = {place.path: place for place in plugin_places(value, model, ()) if place.options}
    return list(_rows(value, model, (), "", places))


def _rows(value: Any, annotation: Any, path: Keys, meaning: str, places: dict[Keys, Place]) -> Iterator[Row]:
    """Rows of a value and of everything below it."""
    if place := places.get(path):
        if place.named:
            yield Row(dotted((*path, "name")), place.options["name"], meaning)
        yield from _rows(place.own(), place.config(), path, "", {})
        return
    for member in members(annotation):
        if is_model(member) and isinstance(value, dict):
            for name, field in member.model_fields.items():
                yield from _rows(value[name], field.annotation, (*path, name), _meaning(field), places)
            return
        if value and get_origin(member) in (dict, list) and _holds_model(member):
            for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
                yield from _rows(inner, get_args(member)[-1], (*path, key), meaning, places)
            return
    yield Row(dotted(path), dump(value, flow=True), meaning)


def _holds_model(annotation: Any) -> bool:
    return is_model(annotation) or any(map(_holds_model, get_args(annotation)))


def _meaning(field: FieldInfo) -> str:
    """Attribute docstring of a field, with its choices."""
    choices = [
        str(choice)
        for member in members(field.annotation)
        if get_origin(member) is Literal
        for choice in get_args(member)
    ]
    return (field.description or "") + (f" [{' | '.join(choices)}]" if choices else "")


def _read(path: Path | None, overrides: Sequence[str]) -> Tree:
    """Values of a file with the overrides put in, unchecked.

    Raises:
        UserError: there is no such file, or it is no text.
    """
    tree = parse(_text(path), str(path)) if path else Tree({})
    if path and tree.value is None and not tree.faults:
        raise UserError(f"{path}: the file is empty; write a configuration, or {{}} for the defaults")
    for override in overrides if isinstance(tree.value, dict) else ():
        place = f"override {override!r}"
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            tree.fault(None, place, "expected key=value, e.g. train.lr=1e-3")
            continue
        parts = tuple(int(part) if part.isdecimal() else part for part in key.strip().split("."))
        _write_out(tree, parts)
        try:
            tree.put(parts, parse(text, place, lines=False, at=parts))
        except LookupError as error:
            tree.fault(parts, place, str(error.args[0]))
    return tree


def _write_out(tree: Tree, path: Keys) -> None:
    """A plugin that is given by its name alone becomes a mapping, so that the value at `path` can be put below it."""
    holder = tree.value
    for depth, key in enumerate(path[:-1], start=1):
        try:
            value = holder[key]
        except (LookupError, TypeError):
            return
        if key in PACKAGES and key != "synthetic" and isinstance(value, str):
            holder[key] = {"name": value}
            at = path[:depth]
            tree.places[(*at, "name")], tree.written[(*at, "name")] = tree.place(at), tree.written.pop(at, value)
            return
        holder = value


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path()
        near = difflib.get_close_matches(path.name, [other.name for other in folder.glob("*.y*ml")], n=1)
        hint = f"did you mean {folder / near[0]}?" if near else "check the path"
        raise UserError(f"{path}: there is no such file; {hint}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: this is a folder; give a YAML file in it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
