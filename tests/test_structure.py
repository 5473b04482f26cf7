"""The rules of the layout: each package is a station, arrows run down, private modules stay at home.

A package is a folder of `htr_ssl`; a module beside the folders counts as a package of its own. Plugins are reached by
name (`htr_ssl.plugins`), which is no import.
"""

import ast
from collections import Counter
from pathlib import Path

import pytest

import htr_ssl

ROOT = Path(htr_ssl.__file__).parent
ORDER = [
    "htr_ssl",
    "errors",
    "seeds",
    "environment",
    "bars",
    "files",
    "archives",
    "folders",
    "partners",
    "plugins",
    "webpage",
    "config",
    "text",
    "layers",
    "model_file",
    "measured",
    "layout",
    "handwriting",
    "data",
    "views",
    "objective",
    "encoders",
    "methods",
    "recognizers",
    "models",
    "training",
    "check",
    "pages",
    "look",
    "experiments",
    "courses",
    "api",
    "cli",
    "__main__",
]
"""A package imports only what stands before it."""
PLUGINS = {"check/checks", "data/readers", "encoders", "methods", "pages/formats", "pages/segment", "views/pipelines"}
"""Folders whose files users name: any number of files, and a name may occur in several of them."""
COMMANDS = "cli"
"""Its modules are named after the commands, so a name may occur again."""
MOST_FILES = 16
MODULES = {
    ".".join(("htr_ssl", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imports(module):
    """Modules of the package that a module imports anywhere, late imports included."""
    path = MODULES[module]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "htr_ssl"} - {module}


IMPORTS = {module: imports(module) for module in MODULES}
IMPORTS["htr_ssl"].clear()  # it imports the names of `htr_ssl.api` when somebody uses them
ARROWS = [(module, target) for module, targets in IMPORTS.items() for target in sorted(targets)]


def package(module):
    return module.split(".")[1] if "." in module else module


def test_there_is_something_to_check():
    assert len(MODULES) > 150
    assert len(ARROWS) > 500


def test_every_package_has_its_place():
    assert {package(module) for module in MODULES} <= set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_arrows_run_down(name):
    place = ORDER.index(name)
    up = [
        f"{module} -> {target}"
        for module, target in ARROWS
        if package(module) == name and module != "htr_ssl" and ORDER.index(package(target)) > place
    ]
    assert not up


def test_no_package_imports_a_private_module_of_another():
    wrong = []
    for module, target in ARROWS:
        parts = target.split(".")
        for depth, part in enumerate(parts):
            home = parts[:depth]
            if part.startswith("_") and part != "__main__" and module.split(".")[: len(home)] != home:
                wrong.append(f"{module} -> {target}")
    assert not wrong


def test_no_private_name_is_imported():
    wrong = []
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("htr_ssl"):
                names = [alias.name for alias in node.names if f"{node.module}.{alias.name}" not in MODULES]
                wrong += [f"{module}: {node.module}.{name}" for name in names if name[0] == "_" and name[1] != "_"]
    assert not wrong


def at_import(module):
    """Modules that are imported as soon as a module is, or for its types."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    late = {inner for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node not in late]
    names = {name for node in nodes for name in (node.module, *(f"{node.module}.{a.name}" for a in node.names))}
    return names & set(MODULES) - {module, "htr_ssl"}


def test_no_circles():
    """Between packages there are none since arrows run down; within one, a function may import what imports it."""
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for target in sorted(at_import(module)):
            visit(target)
        done.add(path.pop())

    for module in MODULES:
        if module != "htr_ssl":
            visit(module)


def test_folders_are_small():
    counts = Counter(path.parent for path in MODULES.values())
    large = {str(folder.relative_to(ROOT)): count for folder, count in counts.items() if count > MOST_FILES}
    assert not {name: count for name, count in large.items() if name not in PLUGINS}


def test_no_name_occurs_twice():
    homes = {}
    for path in MODULES.values():
        folder = path.parent.relative_to(ROOT).as_posix()
        user_facing = folder == COMMANDS or (folder in PLUGINS and not path.name.startswith("_"))
        if not user_facing and path.stem not in ("__init__", "__main__"):
            homes.setdefault(path.stem, []).append(folder)
    assert not {name: folders for name, folders in homes.items() if len(folders) > 1}
