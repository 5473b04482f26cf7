"""Handwritten text recognition when almost nothing is transcribed.

    import htr_ssl

    pretrained = htr_ssl.pretrain(data="lines")
    finetuned = htr_ssl.finetune(data="lines", init=pretrained)
    print(htr_ssl.evaluate(finetuned))
    page = htr_ssl.load(finetuned).transcribe("page.jpg")

Names are imported when they are used, so that ``import htr_ssl`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from htr_ssl.api import (
        Evaluation,
        Finetuned,
        Model,
        Pretrained,
        Reading,
        TableResult,
        evaluate,
        evaluate_pages,
        finetune,
        learn,
        load,
        pretrain,
        table,
        transcribe,
    )
    from htr_ssl.config import AugmentConfig, DataConfig, FinetuneConfig, PretrainConfig, TableConfig, TrainConfig
    from htr_ssl.errors import UserError

__version__ = "0.1.0"

_HOMES = {
    "api": (
        "Evaluation Finetuned Model Pretrained Reading TableResult "
        "evaluate evaluate_pages finetune learn load pretrain table transcribe"
    ),
    "config": "AugmentConfig DataConfig FinetuneConfig PretrainConfig TableConfig TrainConfig",
    "errors": "UserError",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "Evaluation",
    "FinetuneConfig",
    "Finetuned",
    "Model",
    "PretrainConfig",
    "Pretrained",
    "Reading",
    "TableConfig",
    "TableResult",
    "TrainConfig",
    "UserError",
    "evaluate",
    "evaluate_pages",
    "finetune",
    "learn",
    "load",
    "pretrain",
    "table",
    "transcribe",
]


def __getattr__(name: str) -> Any:
    """A public name, imported now (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Names that there are, imported or not."""
    return sorted({*globals(), *__all__})
