"""YAML with its line numbers: plain values, the place each came from, and the traps of YAML 1.1 taken out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Keys = tuple[str | int | float, ...]
"""Keys and list positions from the root to a value."""

_OCTAL = "htr_ssl:octal"
_BREAKS = "\x85\u2028\u2029"

_PLAIN = {
    "tag:yaml.org,2002:bool": r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "tag:yaml.org,2002:null": r"~|null|Null|NULL|",
    _OCTAL: r"[-+]?0[0-9_]+",
    "tag:yaml.org,2002:int": r"[-+]?(0|[1-9][0-9_]*)",
    "tag:yaml.org,2002:float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(?i:inf)|\.(?i:nan)",
}
"""What a scalar without quotes is; everything else is text."""
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("bool", "null", "int", "float", "str")}
_MOST = 100_000  # values of one text; aliases of aliases can stand for billions


class _Loader(yaml.SafeLoader):
    """Safe loader with its own idea of plain scalars: ``1e-3`` is a number, dates and ``12:30`` are text."""


class _Dumper(yaml.SafeDumper):
    """Safe dumper that quotes what either idea of plain scalars would not read as text."""

    def text(self, value: str) -> Any:
        """Text; with a line break that only Unicode knows in double quotes, where YAML keeps it."""
        style = '"' if any(mark in value for mark in _BREAKS) else None
        return self.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _Dumper.text)
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in _PLAIN.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), None)


@dataclass
class Tree:
    """Values of a YAML text.

    Attributes:
        value: mappings, lists and scalars.
        places: where each value or key stands, e.g. ``run.yaml:3``.
        written: scalars as they are written, without quotes.
        faults: what is wrong with the text: path and one line each. A scalar with a fault has the value None.
    """

    value: Any = None
    places: dict[Keys, str] = field(default_factory=dict)
    written: dict[Keys, str] = field(default_factory=dict)
    faults: list[tuple[Keys | None, str]] = field(default_factory=list)

    def fault(self, path: Keys | None, place: str, text: str) -> None:
        """Adds a fault; its path is None if it belongs to no value."""
        self.faults.append((path, f"{place}: {dotted(path)}: {text}" if path else f"{place}: {text}"))

    def place(self, path: Keys) -> str:
        """Place of a value, or of the nearest one around it."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, "defaults")

    def put(self, path: Keys, other: Tree) -> None:
        """Puts in a tree that was parsed for `path`; mappings on the way are made, list positions must exist.

        Raises:
            LookupError: a list has no such position, or a scalar is in the way; its text says so.
        """
        self.faults += other.faults
        holder = self.value
        for depth, key in enumerate(path[:-1]):
            if isinstance(holder, dict) and holder.get(key) is None:
                holder[key] = {}
                self.places[path[: depth + 1]] = other.place(path)
            holder = _child(holder, key, path[:depth])
        if isinstance(holder, list):
            _child(holder, path[-1], path[:-1])
        elif not isinstance(holder, dict):
            raise LookupError(f"{dotted(path[:-1])} is not a mapping")
        holder[path[-1]] = other.value
        for old in [old for old in self.places if old[: len(path)] == path]:
            del self.places[old]
            self.written.pop(old, None)
        self.places |= other.places
        self.written |= other.written


def parse(text: str, name: str, lines: bool = True, at: Keys = ()) -> Tree:
    """Tree of a YAML text; what is wrong with it is in `faults`, nothing is raised.

    Args:
        text: one YAML document.
        name: what the places start with.
        lines: whether they end with the line number.
        at: path of the text's value in the whole configuration.
    """
    tree = Tree()
    loader: Any = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            tree.value = _Builder(tree, loader, name, lines).build(node, at)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if lines and mark else name
        tree.fault(at, place, f"this is not valid YAML ({error.problem or error.context})")
    except yaml.YAMLError as error:
        tree.fault(at, name, f"this is not valid YAML ({' '.join(str(error).split())})")
    except RecursionError:
        tree.fault(at, name, "the YAML is nested too deeply")
    finally:
        if loader is not None:
            loader.dispose()
    return tree


def dump(value: Any, flow: bool = False) -> str:
    """YAML of a value, keys in their order; in one line if `flow`."""
    width = 10**6 if flow else 120
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=flow or None
    )
    if flow and isinstance(value, str) and "\n" in text.removesuffix("...\n").rstrip("\n"):
        text = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, width=width, default_style='"')
    return text.removesuffix("...\n").rstrip("\n") if flow else text


def dotted(path: Keys) -> str:
    """``train.lr`` for ("train", "lr")."""
    return ".".join(map(str, path))


def _child(holder: Any, key: Any, path: Keys) -> Any:
    """Value below a mapping or list.

    Raises:
        LookupError: there is none; its text says why.
    """
    if isinstance(holder, list):
        if not isinstance(key, int) or not 0 <= key < len(holder):
            raise LookupError(f"{dotted(path)} is a list of {len(holder)}; give a position from 0 to {len(holder) - 1}")
    elif not isinstance(holder, dict):
        raise LookupError(f"{dotted(path)} is {holder!r}, which has no keys below it")
    return holder[key]


@dataclass
class _Builder:
    """Turns nodes into values and notes where they stand."""

    tree: Tree
    loader: Any
    name: str
    lines: bool
    inside: set[int] = field(default_factory=set)

    def build(self, node: Any, path: Keys) -> Any:
        """Value of a node."""
        place = self.place(node)
        self.tree.places.setdefault(path, place)
        if len(self.tree.places) > _MOST:
            raise yaml.YAMLError(f"it has more than {_MOST} values")
        if isinstance(node, yaml.ScalarNode):
            self.tree.written[path] = node.value
            return self.scalar(node, path, place)
        if id(node) in self.inside:
            self.tree.fault(path, place, "an alias stands inside its own anchor; write it out")
            return None
        self.inside.add(id(node))
        value: Any
        if isinstance(node, yaml.SequenceNode):
            value = [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
        else:
            value = dict(self.items(node, path))
        self.inside.remove(id(node))
        return value

    def place(self, node: Any) -> str:
        """Where a node stands."""
        return f"{self.name}:{node.start_mark.line + 1}" if self.lines else self.name

    def items(self, node: Any, path: Keys) -> Iterator[tuple[Any, Any]]:
        """Keys and values of a mapping; a key that comes twice or is no text or number is a fault."""
        first: dict[Any, str] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.tree.fault(path, place, "a key must be a word or a number")
                continue
            written = key_node.value
            key = self.scalar(key_node, (*path, written), place)
            if key is None or isinstance(key, bool):
                meant = "nothing" if key is None else f"the truth value {str(key).lower()}"
                self.tree.fault((*path, written), place, f'this key is read as {meant}; quote it: "{written}"')
                continue
            if key in first:
                self.tree.fault((*path, key), place, f"the key is there twice (first: {first[key]}); keep one of them")
            first.setdefault(key, place)
            self.tree.places[(*path, key)] = place
            yield key, self.build(value_node, (*path, key))

    def scalar(self, node: Any, path: Keys, place: str) -> Any:
        """Value of a scalar; an octal or endless number or a foreign tag is a fault."""
        written = node.value
        if node.tag == _OCTAL:
            digits = written.replace("_", "").lstrip("+-")
            octal = f"YAML reads it as octal {int(digits, 8)}" if set(digits) <= set("01234567") else "it is no number"
            fault = f'{written} starts with 0: {octal}; write {int(digits)}, or "{written}" as text'
            self.tree.fault(path, place, fault)
            return None
        if node.tag not in _TAGS:
            self.tree.fault(path, place, f"the tag {node.tag} is not allowed; leave it out")
            return None
        try:
            value = self.loader.construct_object(node)
            written.encode()
        except (yaml.YAMLError, ValueError, LookupError) as error:
            self.tree.fault(path, place, f"{written!r} cannot be read ({getattr(error, 'problem', None) or error})")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.tree.fault(path, place, f"{written} is not a finite number")
            return None
        # 2e3 is the whole number 2000.
        whole = isinstance(value, float) and value.is_integer() and "." not in written
        return int(value) if whole else value
