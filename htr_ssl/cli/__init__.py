"""The command ``htr-ssl``: one module for each group of commands."""

from htr_ssl.cli.commands import app, main

__all__ = ["app", "main"]
