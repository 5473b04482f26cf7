"""Where the options of plugins stand in a configuration, and which ``Config`` checks them."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from htr_ssl import plugins
from htr_ssl.config.schema import PluginConfig
from htr_ssl.config.yaml_tree import Keys, Tree
from htr_ssl.errors import UserError

PACKAGES = {"encoder": "htr_ssl.encoders", "method": "htr_ssl.methods", "synthetic": "htr_ssl.data"}
"""Key -> package of the plugin whose ``Config`` checks what stands below it."""


class Place(NamedTuple):
    """Where a plugin's options stand.

    Attributes:
        path: of the mapping.
        options: the mapping itself.
        package: of the plugin.
        used: False for synthetic handwriting beside another source.
    """

    path: Keys
    options: dict[str, Any]
    package: str
    used: bool

    def config(self) -> type[BaseModel]:
        """The plugin's ``Config``; imports the plugin.

        Raises:
            UserError: there is no such plugin.
        """
        name = self.options["name"] if self.named else self.path[-1]
        model: type[BaseModel] = plugins.load(self.package, str(name)).Config
        return model

    @property
    def named(self) -> bool:
        """Whether the mapping names its plugin; synthetic data is always the same one."""
        return self.path[-1] != "synthetic"

    def own(self) -> dict[str, Any]:
        """Options without the name."""
        return {key: value for key, value in self.options.items() if not (self.named and key == "name")}


def check_plugin(key: str, value: Any, used: bool) -> Any:
    """Value of a key that picks a plugin or holds the options of one, as a configuration has it.

    Args:
        key: encoder, method or synthetic.
        value: a name, a mapping, or a `PluginConfig`.
        used: False for options that nothing reads.

    Raises:
        ValueError: there is no such plugin, or it has no such options; one line per mistake.
    """
    from htr_ssl.config.checking import checked

    if isinstance(value, PluginConfig):
        value = value.model_dump()
    if isinstance(value, str) and key != "synthetic":
        value = {"name": value}
    named = key == "synthetic" or (isinstance(value, dict) and isinstance(value.get("name"), str))
    if not isinstance(value, dict) or not named or not (used and value):
        return value  # the type of the field says what is wrong
    place = Place((key,), to_jsonable_python(value), PACKAGES[key], used)
    try:
        checked(Tree(place.own(), {(): key}), place.config())
    except UserError as error:
        raise ValueError(str(error)) from error
    return value


def members(annotation: Any) -> list[Any]:
    """Types of a union, or the type itself."""
    return list(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else [annotation]


def is_model(annotation: Any) -> bool:
    """Whether it is a pydantic model."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def plugin_places(value: Any, annotation: Any, path: Keys) -> Iterator[Place]:
    """Options of plugins in a value; a plugin's name alone becomes a mapping, in place."""
    for member in members(annotation):
        arguments = get_args(member)
        if is_model(member) and isinstance(value, dict):
            for name in (name for name in member.model_fields if name in value):
                inner = member.model_fields[name].annotation
                if name in PACKAGES and {PluginConfig, dict[str, Any]} & set(members(inner)):
                    if isinstance(value[name], str) and name != "synthetic":
                        value[name] = {"name": value[name]}
                    if isinstance(value[name], dict):
                        used = name != "synthetic" or value.get("source", "synthetic") == "synthetic"
                        yield Place((*path, name), value[name], PACKAGES[name], used)
                else:
                    yield from plugin_places(value[name], inner, (*path, name))
        elif get_origin(member) is dict and isinstance(value, dict):
            for key, inner in value.items():
                yield from plugin_places(inner, arguments[1], (*path, key))
        elif get_origin(member) is list and isinstance(value, list):
            for index, inner in enumerate(value):
                yield from plugin_places(inner, arguments[0], (*path, index))
