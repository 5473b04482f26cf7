"""Any convolutional network of torchvision (ResNet, ConvNeXt, EfficientNet, …) and a bidirectional LSTM.

Source: torchvision, https://pytorch.org/vision/stable/models.html; the extra `torchvision` installs it.

Differs from the networks as published: they end before their pooling; strides beyond 4 px of width and 16 px of height
are 1; every layer that looks at neighbouring columns sees zeros right of a sample's width; the first convolution takes
the image's own channels.

Letters: N batch, C channels, H height, W width, T frames, D features.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, fx, nn
from torch.nn import functional as F

from htr_ssl.errors import UserError
from htr_ssl.layers.convolutions import ink
from htr_ssl.layers.frames import Frames, halved, valid
from htr_ssl.layers.lstm import Context
from htr_ssl.layers.strip_encoder import StripEncoder

STRIDES = (16, 4)
"""Pixels of height and of width per row and column of the network's result."""
_COLUMNS = 64  # of the image that the network is tried on
SPREAD = 0.226
"""Standard deviation of the pixels that torchvision's weights were trained on, mean of its three channels."""


class Config(BaseModel):
    """Options of a torchvision backbone."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    preset: Literal["small", "base"] = "small"
    """small: a ResNet-18 without its last two stages, 1.4 M parameters in all; base: a ResNet-18, 14 M."""
    model: str | None = None
    """Name of torchvision's model in place of the preset's, for example convnext_tiny."""
    until: str | None = None
    """Last part of the named model that is used, for example layer3; null = all of it up to its pooling."""
    weights: str | None = None
    """Weights to start from by torchvision's name, for example DEFAULT or IMAGENET1K_V1; they are downloaded."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the frames before and between the LSTM layers."""


_PRESETS = {
    # torchvision's model, its last part, D of the backbone, LSTM units per direction
    "small": ("resnet18", "layer2", 128, 128),
    "base": ("resnet18", None, 256, 256),
}


class Backbone(nn.Module):
    """The network up to its pooling, then all rows of a column joined into one frame.

    Raises:
        UserError: torchvision is not installed, or has no such network, or it cannot read lines of free width.
    """

    def __init__(self, model: str, until: str | None, height: int, in_channels: int, out: int) -> None:
        super().__init__()
        self.trunk, channels, rows = _trunk(model, until, height, in_channels)
        self.project = nn.Linear(channels * rows, out)
        self.norm = nn.LayerNorm(out)

    def forward(self, images: Tensor, widths: Tensor) -> Frames:
        """(N, C, H, W) in [0, 1], (N,) -> frames of 4 px."""
        x = ink(images, widths) / -SPREAD  # paper = 0; ink is dark as in the photographs of the weights
        x = F.pad(x, (0, -x.shape[3] % STRIDES[1], 0, -x.shape[2] % STRIDES[0]))
        x = self.trunk(x, widths)
        x = x.permute(0, 3, 2, 1).flatten(2)  # (N, T, rows * C)
        lengths = _lengths(widths, STRIDES[1])
        x = torch.relu(self.norm(self.project(x)))
        return Frames(x * valid(lengths, x.shape[1])[..., None].to(x.dtype), lengths)


class Encoder(StripEncoder):
    """Backbone and context model: images to frames."""

    stride = STRIDES[1]
    backbone: Backbone

    def __init__(self, config: Config, height: int, in_channels: int = 1) -> None:
        super().__init__()
        model, until, self.backbone_dim, units = _PRESETS[config.preset]
        self.model, self.until = (config.model, config.until) if config.model else (model, config.until or until)
        self.weights = config.weights
        self.height, self.in_channels = height, in_channels
        self.out_dim = 2 * units
        if self.weights:
            _published(self.model, self.weights)
        self.backbone = Backbone(self.model, self.until, height, in_channels, self.backbone_dim)
        self.context = Context(self.backbone_dim, units, config.dropout)

    def load_pretrained(self) -> None:
        """Downloads the weights that the configuration names, unless they lie in PyTorch's cache, and starts from them.

        Raises:
            UserError: they cannot be had.
        """
        if not self.weights:
            return
        with torch.random.fork_rng(devices=[]):
            trunk, _, _ = _trunk(self.model, self.until, self.height, self.in_channels, self.weights)
        self.backbone.trunk.load_state_dict(trunk.state_dict())

    def frames(self, widths: Tensor) -> Tensor:
        """(N,) widths [px] -> (N,) numbers of frames, without running the network."""
        return _lengths(widths, self.stride)


def masked(x: Tensor, widths: Tensor, stride: int, value: float) -> Tensor:
    """(N, C, H, W) with `value` right of each sample's width [px] after `stride`."""
    outside = ~valid(_lengths(widths, stride), x.shape[3])
    return x.masked_fill(outside[:, None, None, :], value)


def masked_mean(x: Tensor, widths: Tensor, stride: int) -> Tensor:
    """(N, C, H, W) -> (N, C, 1, 1): mean over each sample's own columns."""
    count = _lengths(widths, stride)[:, None, None, None].to(x.dtype)
    return masked(x, widths, stride, 0.0).sum((2, 3), keepdim=True) / (count * x.shape[2])


def _lengths(widths: Tensor, stride: int) -> Tensor:
    """Columns of a sample after a stride of 1, 2 or 4."""
    for _ in range(stride.bit_length() - 1):
        widths = halved(widths)
    return widths


def _library() -> Any:
    try:
        import torchvision
    except ImportError as error:
        raise UserError(
            f"encoder torchvision_backbone: torchvision cannot be loaded ({error}); "
            "install it with pip install 'htr-ssl[torchvision]'"
        ) from error
    return torchvision


def _published(model: str, weights: str) -> Any:
    """Torchvision's entry of the weights.

    Raises:
        UserError: there is no such model, or it has no such weights.
    """
    models = _library().models
    known = models.list_models(module=models)
    if model not in known:
        near = difflib.get_close_matches(model, known, n=1)
        raise UserError(
            f"encoder.model: torchvision has no model {model!r}; "
            + (f"did you mean {near[0]}?" if near else "choose one such as resnet18, convnext_tiny, efficientnet_b0")
        )
    entries = models.get_model_weights(model).__members__
    if weights not in entries:
        raise UserError(f"encoder.weights: {model} has no weights {weights!r}; choose one of: {', '.join(entries)}")
    return entries[weights]


def _network(model: str, weights: str | None) -> nn.Module:
    """The whole network as torchvision makes it, with random or published weights."""
    models = _library().models
    if model not in models.list_models(module=models):
        _published(model, "")
    network: nn.Module = models.get_model(model, weights=None)
    if weights:
        entry = _published(model, weights)
        try:
            network.load_state_dict(entry.get_state_dict(progress=False, check_hash=True, weights_only=True))
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"encoder.weights: {entry.url} cannot be loaded ({error}); leave encoder.weights out to start from "
                "random weights"
            ) from error
    return network


class _Tracer(fx.Tracer):
    """Looks into everything but PyTorch's own layers and those that draw at random."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step of the graph."""
        return super().is_leaf_module(m, module_qualified_name) or type(m).__name__ == "StochasticDepth"


class _Narrow(fx.Interpreter):
    """Runs the network on one image, and takes away every stride beyond `STRIDES` on the way.

    Attributes:
        shapes: of each node's result.
    """

    def __init__(self, network: fx.GraphModule, image: Tensor) -> None:
        super().__init__(network)
        self.size = image.shape[2:]
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Result of a node; its shape is kept."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n] = tuple(result.shape)
        return result

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Result of a layer, its stride mended."""
        layer = self.fetch_attr(target)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            for side in (0, 1):
                if self.size[side] // args[0].shape[2 + side] >= STRIDES[side]:
                    _unstride(layer, side)
        return super().call_module(target, args, kwargs)


def _unstride(layer: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d, side: int) -> None:
    """Gives a layer the stride 1 along rows (0) or columns (1); a kernel no larger than its stride is summed to 1."""
    stride, kernel, padding = (_pair(getattr(layer, name)) for name in ("stride", "kernel_size", "padding"))
    if stride[side] == 1:
        return
    if kernel[side] <= stride[side] and not padding[side]:
        kernel[side] = 1
        if isinstance(layer, nn.Conv2d):
            layer.weight = nn.Parameter(layer.weight.detach().sum(2 + side, keepdim=True))
    stride[side] = 1
    layer.stride, layer.kernel_size = tuple(stride), tuple(kernel)


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _trunk(
    model: str, until: str | None, height: int, channels: int, weights: str | None = None
) -> tuple[fx.GraphModule, int, int]:
    """A network up to one of its parts, or to its last pooling, as a function of images and widths.

    Returns:
        The function, its channels and its rows.

    Raises:
        UserError: it cannot be had, or its columns are not of `STRIDES` px.
    """
    network = _network(model, weights).eval()
    parts = dict(network.named_modules())
    if until is not None and until not in parts:
        raise UserError(
            f"encoder.until: {model} has no part {until!r}; its parts are "
            + ", ".join(name for name in parts if name and name.count(".") < 2 and not name.startswith("classifier"))
        )
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    if channels != first.in_channels:
        first.weight = nn.Parameter(first.weight.detach().sum(1, keepdim=True))
        first.in_channels = channels
    image = torch.zeros(1, channels, height + -height % STRIDES[0], _COLUMNS * STRIDES[1])
    try:
        graph = _Tracer().trace(network)
        narrow = _Narrow(fx.GraphModule(network, graph), image)
        with torch.no_grad():
            narrow.run(image)
        end = _end(graph, network, until)
        _, out, rows, columns = narrow.shapes[end]
    except Exception as error:  # the library's networks fail in ways of their own
        raise _unfit(model) from error
    if columns != _COLUMNS:
        raise _unfit(model)
    _mask(graph, end, network, narrow)
    return fx.GraphModule(network, graph).train(), out, rows


def _unfit(model: str) -> UserError:
    return UserError(
        f"encoder.model: {model} cannot read lines of free width in frames of {STRIDES[1]} px; choose one such as "
        "resnet18, convnext_tiny, efficientnet_b0, mobilenet_v3_small"
    )


def _end(graph: fx.Graph, network: nn.Module, until: str | None) -> Any:
    """Node of the result: the last one of a part, or what the last pooling takes."""
    if until is None:
        return [node for node in graph.nodes if _pools(node, network)][-1].args[0]
    return [node for node in graph.nodes if until in node.meta.get("nn_module_stack", {})][-1]


def _pools(node: fx.Node, network: nn.Module) -> bool:
    """Whether a node averages over the whole image."""
    if node.op == "call_module":
        return isinstance(network.get_submodule(str(node.target)), nn.AdaptiveAvgPool2d)
    return node.target in (F.adaptive_avg_pool2d, "mean")


def _mask(graph: fx.Graph, end: fx.Node, network: nn.Module, narrow: _Narrow) -> None:
    """Ends the graph at a node and hides what is right of a sample's width from all that sees neighbouring columns."""
    image = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(image):
        widths = graph.placeholder("widths")
    for node in list(graph.nodes):
        if node.op != "call_module":
            continue
        layer = network.get_submodule(str(node.target))
        looks = isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) and _pair(layer.kernel_size)[1] > 1
        if not looks and not isinstance(layer, nn.AdaptiveAvgPool2d):
            continue
        source = node.args[0]
        stride = narrow.size[1] // narrow.shapes[source][3]
        with graph.inserting_before(node):
            if looks:
                value = float("-inf") if isinstance(layer, nn.MaxPool2d) else 0.0
                node.args = (graph.call_function(masked, (source, widths, stride, value)), *node.args[1:])
                if isinstance(layer, nn.MaxPool2d):  # and no infinity behind it
                    stride = narrow.size[1] // narrow.shapes[node][3]
                    with graph.inserting_after(node):
                        after = graph.call_function(masked, (node, widths, stride, 0.0))
                    node.replace_all_uses_with(after, lambda user, after=after: user is not after)
                    narrow.shapes[after], end = narrow.shapes[node], after if end is node else end
            else:
                node.replace_all_uses_with(graph.call_function(masked_mean, (source, widths, stride)))
    for node in [node for node in graph.nodes if node.op == "output"]:
        graph.erase_node(node)
    graph.output(end)
    graph.eliminate_dead_code()
    graph.lint()
