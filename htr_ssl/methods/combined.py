"""Several objectives on one encoder: the weighted sum of their losses.

Source: Yang et al. 2022, "Reading and writing: discriminative and generative modeling for self-supervised text
recognition" (DiG), arXiv 2207.00193: masked image modelling with weight 1 and contrast with weight 0.1.

Differs from the paper: any methods of this folder can be summed, each with its own views, heads and weight; each sees
the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Generator, Tensor, nn

from htr_ssl import plugins
from htr_ssl.config.checking import checked
from htr_ssl.config.yaml_tree import Tree
from htr_ssl.data.batch import Images
from htr_ssl.errors import UserError
from htr_ssl.layers.collective import share
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.objective import Objective

WEIGHT = "weight"
PACKAGE = "htr_ssl.methods"


class Config(BaseModel):
    """Options of the sum."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    parts: dict[str, dict[str, Any]] = Field(
        {"masked_image": {WEIGHT: 1.0}, "simclr": {WEIGHT: 0.1}}, min_length=1, validate_default=True
    )
    """Method -> its weight (above 0; 1 if not given) and its own options, e.g. {masked_image: {ratio: 0.6},
    simclr: {weight: 0.1}}. Here they are complete, so that a file of them says everything."""

    @field_validator("parts")
    @classmethod
    def _known(cls, parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        whole = {}
        for name, options in parts.items():
            if name == __name__.rpartition(".")[2]:
                raise ValueError("a sum cannot be a part of itself; name its parts here")
            weight = options.get(WEIGHT, 1.0)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
                raise ValueError(f"{name}.{WEIGHT}: it must be a number above 0, not {weight!r}")
            try:
                config = checked(Tree(_own(options), {(): name}), plugins.load(PACKAGE, name).Config)
            except UserError as error:
                raise ValueError("; ".join(str(error).splitlines())) from error
            whole[name] = {WEIGHT: weight, **config.model_dump(mode="json")}
        return whole


class Method(Objective):
    """An encoder that all parts share, and their heads."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.parts = nn.ModuleDict()
        for name, options in config.parts.items():
            module = plugins.load(PACKAGE, name)
            self.parts[name] = module.Method(module.Config(**_own(options)), encoder)

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """The views of all parts, in order."""
        return tuple(view for _, part in self._methods() for view in part.views(images, generator))

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor | float]:
        """The weighted sum; the losses of the parts and their terms are named PART.TERM.

        With several processes each one scales a part by its share of the joined batch.
        """
        loss: Tensor | float = 0.0
        found: dict[str, Tensor | float] = {}
        for name, part in self._methods():
            terms = dict(part(images, generator))
            scale = share(terms.pop("weight", len(images.widths)), images.pixels.device)
            loss = loss + self.config.parts[name][WEIGHT] * scale * terms["loss"]
            found |= {f"{name}.{term}": scale * torch.as_tensor(value).detach() for term, value in terms.items()}
        assert isinstance(loss, Tensor)
        return {"loss": loss, "weight": 1.0, **found}

    def after_step(self, progress: float) -> None:
        """Moving averages of the parts."""
        for _, part in self._methods():
            after_step = getattr(part, "after_step", None)
            if after_step is not None:
                after_step(progress)

    def _methods(self) -> Iterator[tuple[str, Objective]]:
        """Name and method of each part."""
        return cast(Iterator[tuple[str, Objective]], iter(self.parts.items()))


def _own(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != WEIGHT}
