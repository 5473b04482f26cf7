"""Checks the values of a configuration file against a model and its plugins' models, and words every mistake."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from htr_ssl.config.plugin_places import Place, is_model, members, plugin_places
from htr_ssl.config.schema import CHECKED, FinetuneConfig, PluginConfig, PretrainConfig, Strict, TableConfig
from htr_ssl.config.yaml_tree import Keys, Tree, dotted
from htr_ssl.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

COMMANDS: dict[str, type[Strict]] = {"pretrain": PretrainConfig, "finetune": FinetuneConfig, "table": TableConfig}
"""Command -> its kind of configuration."""

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "list_type": "a list",
    "tuple_type": "a list",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
}

_LONGEST = 80  # characters of a value in a message


def plain(config: BaseModel) -> dict[str, Any]:
    """Values as JSON has them."""
    value: dict[str, Any] = json.loads(config.model_dump_json())
    return value


def checked(tree: Tree, model: type[Model]) -> Model:
    """Model of the tree's values, the options of its plugins complete.

    Raises:
        UserError: one line per mistake.
    """
    if not isinstance(tree.value, dict) and not tree.faults:
        tree.fault((), tree.place(()), f"expected keys and values (key: value), got {tree.value!r}")
    broken = {path for path, _ in tree.faults}
    if () not in broken:
        places = list(plugin_places(tree.value, model, ()))
        found = list(_mistakes(tree, tree.value, model, (), model))
        for place in places:
            found += _plugin_mistakes(tree, place, model)
        for path, text in found:
            if not any(path[:depth] in broken for depth in range(len(path) + 1)):
                tree.fault(path, tree.place(path), text)
    if tree.faults:
        raise UserError("\n".join(sorted(dict.fromkeys(text for _, text in tree.faults), key=_line)))
    complete = plain(_validate(tree.value, model))
    for place in plugin_places(complete, model, ()):
        if place.used:
            place.options.update(plain(_validate(place.own(), place.config())))
    return _validate(complete, model)


def _line(fault: str) -> int:
    """Line number in the file that a mistake starts with; overrides come last."""
    found = re.search(r":(\d+): ", fault)
    return int(found[1]) if found and not fault.startswith("override") else sys.maxsize


def _validate(value: Any, model: type[Model]) -> Model:
    # JSON in strict mode: true is no number and 5 is no text, but a list may become a tuple and text a path.
    return model.model_validate_json(json.dumps(value), strict=True, context=CHECKED)


def _plugin_mistakes(tree: Tree, place: Place, root: type[BaseModel]) -> Iterator[tuple[Keys, str]]:
    """Mistakes in a plugin's name and options."""
    if place.named and not isinstance(place.options.get("name"), str):
        return  # said by the model
    if not place.used and not place.options:
        return
    try:
        config = place.config()
    except UserError as error:
        yield (*place.path, "name"), str(error).partition(": ")[2]
        return
    yield from _mistakes(tree, place.own(), config, place.path, root)


def _mistakes(
    tree: Tree, value: Any, model: type[BaseModel], above: Keys, root: type[BaseModel]
) -> Iterator[tuple[Keys, str]]:
    """Keys and text of everything wrong with a value."""
    try:
        _validate(value, model)
        return
    except ValidationError as error:
        details = error.errors(include_url=False)
    by_path: dict[Keys, list[ErrorDetails]] = {}
    for detail in details:
        by_path.setdefault(_path(value, detail["loc"]), []).append(detail)
    unions = {_path(value, d["loc"]) for d in details if len(d["loc"]) > len(_path(value, d["loc"]))}
    for path, found in by_path.items():
        # Of a union's branches the one that got furthest is meant.
        if not any(len(other) > len(path) and other[: len(path)] == path and path in unions for other in by_path):
            yield above + path, _text(tree, above + path, found, model, path, root)


def _path(value: Any, location: tuple[int | str, ...]) -> Keys:
    """pydantic's location without the names of union branches, the keys as they are in the value."""
    path: Keys = ()
    for depth, part in enumerate(location):
        if isinstance(value, dict) and (keys := [key for key in value if str(key) == str(part)]):
            path, value = (*path, keys[0]), value[keys[0]]
        elif isinstance(value, list) and isinstance(part, int):
            path, value = (*path, part), value[part]
        elif depth == len(location) - 1 and isinstance(value, dict) and "[" not in str(part):
            path = (*path, part)  # a missing key
    return path


def _text(
    tree: Tree, path: Keys, found: list[ErrorDetails], model: type[BaseModel], inner: Keys, root: type[BaseModel]
) -> str:
    """What is wrong at one path."""
    kind, context = found[0]["type"], found[0].get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path, inner, model, root)
    if kind == "missing":
        return "this key is needed"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", found[0]["msg"]))
    wanted = " or ".join(dict.fromkeys(map(_expected, found)))
    given = found[0]["input"]
    if given is None:
        return f"expected {wanted}, got nothing"
    written = tree.written.get(path, json.dumps(given, ensure_ascii=False))
    written = written if len(written) <= _LONGEST else written[:_LONGEST] + "…"
    got = f"expected {wanted}, got {written}"
    if isinstance(given, str):
        if written in wanted.replace(" or ", ", ").split(", "):
            return f"{got} in quotes; leave the quotes out"
        near = difflib.get_close_matches(given, re.findall("'(.*?)'", wanted), n=1)
        return f"{got}; did you mean {near[0]}?" if near else got
    if isinstance(given, bool) and written.lower() not in ("true", "false"):
        got += f" (YAML reads it as {str(given).lower()})"
    if isinstance(given, bool | int | float) and (kind == "string_type" or f"'{written}'" in wanted):
        got += f'; quote it: "{written}"'
    return got


def _expected(detail: ErrorDetails) -> str:
    form = _EXPECTED.get(detail["type"])
    return form.format(**detail.get("ctx", {})) if form else detail["msg"]


def _unknown(path: Keys, inner: Keys, model: type[BaseModel], root: type[BaseModel]) -> str:
    """What to say of a key that does not exist: the nearest one here, the same one elsewhere, or all there are."""
    holder = _model_at(model, inner[:-1])
    here = list(holder.model_fields) if holder else []
    if near := difflib.get_close_matches(str(path[-1]), here, n=1):
        return f"there is no such key; did you mean {dotted((*path[:-1], near[0]))}?"
    if elsewhere := [key for key in _keys(root, ()) if key[-1] == path[-1]]:
        return f"there is no such key; did you mean {dotted(elsewhere[0])}?"
    if len(path) == 1:
        for command, kind in COMMANDS.items():
            if path[0] in kind.model_fields:
                return f"this key belongs to another kind of configuration: htr-ssl {command}"
    return "there is no such key; " + (f"the keys here are {', '.join(here)}" if here else "there are no keys here")


def _model_at(annotation: Any, path: Keys) -> type[BaseModel] | None:
    """Model whose keys stand below `path`."""
    for member in members(annotation):
        if not path:
            if is_model(member):
                return member  # type: ignore[no-any-return]
        elif is_model(member) and path[0] in member.model_fields:
            return _model_at(member.model_fields[str(path[0])].annotation, path[1:])
        elif get_origin(member) in (dict, list) and (found := _model_at(get_args(member)[-1], path[1:])):
            return found
    return None


def _keys(model: type[BaseModel], path: Keys) -> Iterator[Keys]:
    """Paths of all keys that do not depend on names given by the user."""
    for name, field in model.model_fields.items():
        yield (*path, name)
        for member in members(field.annotation):
            if is_model(member) and member is not PluginConfig:
                yield from _keys(member, (*path, name))
