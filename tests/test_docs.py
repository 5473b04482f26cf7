"""Every command in the documentation is one the program accepts; every file it links to is there."""

import inspect
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from htr_ssl.cli import app
from htr_ssl.cli.arguments import parted
from htr_ssl.config.checking import COMMANDS
from htr_ssl.config.yaml_files import kind_of, load_config
from htr_ssl.experiments.plan import check

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("datasets/*.md")])
PROGRAM = get_command(app)


def leaves(command, path=()):
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


def commands() -> list[str]:
    """Commands in code blocks, in `code` with arguments, and in the examples of --help."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found += re.findall(r"^(?:.*&& )?(htr-ssl .+?)(?: {2,}#.*)?$", block, re.MULTILINE)
        found += re.findall(r"`(htr-ssl [^`]*(?:configs/|\w=)[^`…]*)`", text)
    for _, command in leaves(PROGRAM):
        found += re.findall(r"Example: `(.+?)`", inspect.getdoc(command.callback) or "", re.DOTALL)
    return sorted({command.replace("NAME", "simclr") for command in found if "…" not in command})


def test_commands_are_found():
    assert len(commands()) >= 15


@pytest.mark.parametrize("line", commands())
def test_commands_are_accepted(line):
    arguments = shlex.split(line)[1:]
    command, context = PROGRAM, None
    while hasattr(command, "commands"):
        if arguments and arguments[0].startswith("-"):
            return
        command, arguments = command.commands[arguments[0]], arguments[1:]
    context = command.make_context("htr-ssl", list(arguments))
    given = context.params
    config = given.get("config")
    if config is not None or command.name in COMMANDS:
        path, overrides = parted(config)
        kind = COMMANDS.get(command.name or "") or COMMANDS["pretrain"]
        if path is not None and str(path) in COMMANDS:
            path, kind = None, COMMANDS[str(path)]
        load_config(path and ROOT / path, overrides, kind)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_command_has_an_example():
    without = [name for name, command in leaves(PROGRAM) if "Example:" not in (inspect.getdoc(command.callback) or "")]
    assert without == ["quickstart", "formats"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configurations_in_the_documentation_are_accepted(page, tmp_path):
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        (tmp_path / "block.yaml").write_text(block, encoding="utf-8")
        kind = kind_of(tmp_path / "block.yaml", [])
        config = load_config(tmp_path / "block.yaml", [], kind)
        if kind is COMMANDS["table"]:
            check(config)


def test_the_method_in_contributing_works(tmp_path, monkeypatch):
    """The example trains: its loss has a gradient for the encoder."""
    import importlib.util

    import torch

    from htr_ssl.data.batch import Images
    from htr_ssl.encoders import crnn

    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "agreement.py").write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("agreement", tmp_path / "agreement.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    encoder = crnn.Encoder(crnn.Config(), 48)
    method = module.Method(module.Config(), encoder)
    generator = torch.Generator().manual_seed(0)
    images = Images(torch.rand(2, 1, 48, 80, generator=generator), torch.tensor([80, 60]))
    terms = method(images, generator)
    terms["loss"].backward()
    assert torch.isfinite(terms["loss"])
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())
