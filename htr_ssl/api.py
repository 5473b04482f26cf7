"""The Python interface: the commands as functions that return objects.

``htr_ssl`` exports every name of this module. Heavy libraries are imported inside the functions.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from htr_ssl.config import DataConfig, FinetuneConfig, PretrainConfig, Strict, TableConfig, TrainConfig
from htr_ssl.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from htr_ssl.courses.course import Course
    from htr_ssl.experiments.evaluate import Prediction
    from htr_ssl.experiments.statistics import Table
    from htr_ssl.layout.document import Page
    from htr_ssl.pages.page_evaluation import PageEvaluation
    from htr_ssl.recognizers.reader import Reader

    Picture: TypeAlias = str | Path | np.ndarray | Image
    ModelLike: TypeAlias = "str | Path | Finetuned"

Kind = TypeVar("Kind", bound=Strict)
_METRICS = ("wacc", "cer", "wer")


class Reading(NamedTuple):
    """What was read in one image.

    Attributes:
        text: the text.
        confidence: of the text, in [0, 1].
    """

    text: str
    confidence: float


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining.

    Attributes:
        path: the encoder's file; `finetune(init=…)` takes it, or this object.
        folder: of the run, with config.yaml, metrics.csv and summary.json.
        config: the run's configuration.
        summary: steps, seconds, images per second, and what the encoder looks like at the end.
    """

    path: Path
    folder: Path
    config: PretrainConfig
    summary: dict[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        return _html("Pretrained encoder", self.path, _facts(self.summary))


@dataclass(frozen=True)
class Finetuned:
    """A finished fine-tuning.

    Attributes:
        path: the model's file; `load`, `evaluate` and `transcribe` take it, or this object.
        folder: of the run, with config.yaml, metrics.csv and summary.json.
        config: the run's configuration.
        cer: character error rate on the validation split, in [0, 1]; above 1 if far too much was read, NaN if the split
            is empty.
        summary: steps, seconds, images per second, characters.
    """

    path: Path
    folder: Path
    config: FinetuneConfig
    cer: float
    summary: dict[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        facts = [("validation CER", f"{100 * self.cer:.1f} %"), *_facts(self.summary)]
        return _html("Recognizer", self.path, facts)


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model on one split. Every `…_ci` is a 95 % interval; CER and WER can exceed 1.

    Attributes:
        wacc: share of the words that were read exactly.
        cer: character edits over reference characters.
        wer: word edits over reference words.
        n: images that were scored.
        split: the split.
        result: all of result.json.
        predictions: what is written and what was read, image by image.
    """

    wacc: float
    wacc_ci: tuple[float, float]
    cer: float
    cer_ci: tuple[float, float]
    wer: float
    wer_ci: tuple[float, float]
    n: int
    split: str
    result: dict[str, Any] = field(repr=False)
    predictions: list[Prediction] = field(repr=False)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._rates()) + f" on {self.n} images of {self.split}"

    def _rates(self) -> list[tuple[str, str]]:
        rates = []
        for name in _METRICS:
            low, high = getattr(self, f"{name}_ci")
            value = f"{100 * getattr(self, name):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
            rates.append((name.upper().replace("WACC", "WAcc"), value))
        return rates

    def _repr_html_(self) -> str:
        return _html("Evaluation", f"{self.n} images of {self.split}", self._rates())


@dataclass(frozen=True)
class TableResult:
    """A table of experiments.

    Attributes:
        folder: with table.md, table.csv, table.tex, cells.csv and curve.png.
        config: its configuration.
        rows: of table.csv; numbers are text as they stand there.
        failed: a sentence for each cell that could not be run.
    """

    folder: Path
    config: TableConfig
    rows: list[dict[str, str]]
    failed: list[str]
    _table: Table = field(repr=False, compare=False)

    @property
    def markdown(self) -> str:
        """The table as Markdown."""
        return (self.folder / "table.md").read_text(encoding="utf-8")

    @property
    def figure(self) -> Path:
        """The picture of the table."""
        return self.folder / "curve.png"

    def __str__(self) -> str:
        return self.markdown

    def _repr_html_(self) -> str:
        from htr_ssl.experiments import report

        return report.table(self._table)


class Model:
    """A recognizer that is ready to read.

    Attributes:
        path: its file.
        header: what the file says of itself: characters, preprocessing, training data.
    """

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path, self.header, self._reader = path, reader.header, reader

    def __repr__(self) -> str:
        return f"Model({str(self.path)!r}, {len(self.characters)} characters)"

    @cached_property
    def characters(self) -> str:
        """Characters that the model can write."""
        return "".join(self._reader.charset.characters)

    def read(self, images: Picture | Sequence[Picture], batch_size: int = 32) -> list[Reading]:
        """Reads images of one word or line each.

        Args:
            images: one or several: files, PIL images, or uint8 arrays (H, W) or (H, W, 3), RGB.
            batch_size: most images read at once.

        Raises:
            UserError: an image cannot be decoded.
        """
        from htr_ssl.recognizers.aligned import read_aligned

        found = read_aligned(self._reader, [_decoded(x) for x in _several(images)], batch_size)
        return [Reading(one.text, one.confidence) for one in found]

    def transcribe(self, page: Picture, segmenter: str = "learned") -> Page:
        """Finds the lines of a page and reads them.

        Args:
            page: a file, a PIL image, or an array as `read` takes them.
            segmenter: what finds the lines; `htr-ssl formats` lists them.

        Raises:
            UserError: the image cannot be decoded, or there is no such segmenter.
        """
        from functools import partial

        from htr_ssl.layout.document import Made
        from htr_ssl.pages import segmenters
        from htr_ssl.pages.one_page import read_image
        from htr_ssl.recognizers.aligned import read_aligned

        find = segmenters.segmenter(segmenter, self._reader.charset.direction)
        result = read_image(_decoded(page), find, partial(read_aligned, self._reader))
        result.image = Path(page) if isinstance(page, str | Path) else Path("page")
        result.made = Made(self.path.name, settings=f"segmenter={segmenter}")
        return result


def load(model: ModelLike, device: str = "auto", threads: int = 0, lm: str | Path = "auto") -> Model:
    """Loads a recognizer.

    Args:
        model: a model.safetensors or .onnx file, the name of a model, or what `finetune` returned.
        device: auto, cpu, cuda, cuda:1 or mps.
        threads: CPU threads; 0 = those of PyTorch, without the cores that other programs keep busy.
        lm: language model: auto = the one in the model's file, if there is one; none; or a file of one.

    Raises:
        UserError: there is no such file, or it is not a recognizer.
    """
    from htr_ssl.recognizers.reader import Reader

    path = _path(model)
    return Model(path, Reader.load(path, device, threads, lm=lm))


def transcribe(
    image: Picture, model: ModelLike | None = None, segmenter: str = "learned", device: str = "auto"
) -> Page:
    """Finds the lines of a page and reads them; `Model.transcribe` does the same for many pages with one model.

    Args:
        image: a file, a PIL image, or a uint8 array (H, W) or (H, W, 3), RGB.
        model: a model's file or name, or what `finetune` returned; None = the one that comes with the package.
        segmenter: what finds the lines.
        device: auto, cpu, cuda, cuda:1 or mps.

    Raises:
        UserError: no model is given, or the image or the model cannot be used.
    """
    from htr_ssl.models import shelf

    return load(shelf.default() if model is None else model, device).transcribe(image, segmenter)


def pretrain(
    config: PretrainConfig | str | Path | None = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    **values: Any,
) -> Pretrained:
    """Pretrains an encoder on images without text; the same call continues a run that was stopped.

    Args:
        config: configuration or its YAML file; None = the defaults.
        out: folder of the run; None = runs/NAME.
        progress: show a bar.
        **values: keys of the configuration that replace its values, such as ``data="lines"``,
            ``method={"name": "simclr", "temperature": 0.2}``, ``train={"steps": 500}``.

    Raises:
        UserError: a bad value, bad data, or another run in the folder.
    """
    whole = _configured(PretrainConfig, config, values, "pretrain")
    from htr_ssl.training import pretrain as training

    folder = Path(out or Path("runs") / whole.name)
    return Pretrained(training.run(whole, folder, progress), folder, whole, _json(folder / "summary.json"))


def finetune(
    config: FinetuneConfig | str | Path | None = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    **values: Any,
) -> Finetuned:
    """Trains a recognizer on labelled images; the same call continues a run that was stopped.

    Args:
        config: configuration or its YAML file; None = the defaults.
        out: folder of the run; None = runs/NAME.
        progress: show a bar.
        **values: keys of the configuration that replace its values, such as ``data="lines"``, ``fraction=0.05``,
            ``init=pretrained``, ``encoder="crnn"``, ``train={"steps": 500}``.

    Raises:
        UserError: a bad value, bad data, or another run in the folder.
    """
    whole = _configured(FinetuneConfig, config, values, "finetune")
    from htr_ssl import model_file
    from htr_ssl.training import finetune as training

    folder = Path(out or Path("runs") / whole.name)
    path = training.run(whole, folder, progress)
    cer = model_file.read_header(path)["val_cer"]
    return Finetuned(path, folder, whole, float("nan") if cer is None else float(cer), _json(folder / "summary.json"))


def learn(
    data: str | Path | Mapping[str, Any] | DataConfig,
    hours: float = 1.0,
    *,
    out: str | Path = "runs/learn",
    start: ModelLike = "base",
    fraction: float = 1.0,
    seed: int = 0,
    progress: bool = True,
    **train: Any,
) -> Course:
    """Learns a hand from a few transcribed lines, in the time given, and reads the lines that have no text.

    Args:
        data: images, some or none with a text: a source, or keys of a data configuration.
        hours: about how long it may take.
        out: folder of the course; the same call goes on there.
        start: recognizer to start from, or "none".
        fraction: share of the labels that is used.
        seed: of the subset and the trainings; the held-out lines stay the same.
        progress: show bars.
        **train: hardware, such as ``device="cpu"``, ``threads=1``.

    Returns:
        Paths of the model, the readings and the lines to transcribe next, and the score.

    Raises:
        UserError: no text and too few lines to learn without, or another course in the folder.
    """
    from htr_ssl.courses.course import run

    given = {"source": str(data)} if isinstance(data, str | Path) else data
    known = given if isinstance(given, DataConfig) else DataConfig(**given)
    name = str(start.path if isinstance(start, Finetuned) else start)
    return run(known, Path(out), hours, name, fraction, seed, TrainConfig(**train), progress=progress)


def table(
    config: TableConfig | str | Path | None = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    **values: Any,
) -> TableResult:
    """Trains and scores rows × fractions × seeds; the same call continues a table that was stopped.

    Args:
        config: configuration or its YAML file; None = the defaults.
        out: folder of the table; None = runs/NAME.
        progress: show a line for each cell, and bars.
        **values: keys of the configuration that replace its values, such as ``data="lines"``, ``fractions=[0.05, 1]``,
            ``rows={"supervised": [], "simclr": [{"method": "simclr"}]}``.

    Raises:
        UserError: a bad value, or bad data.
    """
    whole = _configured(TableConfig, config, values, "table")
    from htr_ssl.experiments import table as tables

    made = tables.run(whole, Path(out or Path("runs") / whole.name), progress)
    with open(made.out / "table.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return TableResult(made.out, whole, rows, [f"{cell.folder}: {cell.error}" for cell in made.failed], made)


def evaluate(
    model: ModelLike,
    data: str | Path | Mapping[str, Any] | DataConfig | None = None,
    split: str = "test",
    *,
    out: str | Path | None = None,
    device: str = "auto",
    threads: int = 0,
) -> Evaluation:
    """Scores a model: WAcc, CER and WER with 95 % intervals.

    Args:
        model: a model file, or what `finetune` returned.
        data: other data than the model's own: a source, or keys of a data configuration that replace the model's.
        split: train, validation, test, or all.
        out: folder for result.json and predictions.csv; None writes nothing.
        device: auto, cpu, cuda, cuda:1 or mps.
        threads: CPU threads; 0 = those of PyTorch, without the cores that other programs keep busy.

    Raises:
        UserError: no such model or data, or no labelled image in the split.
    """
    import tempfile

    from htr_ssl.experiments import evaluate as evaluation

    path = _path(model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(out or scratch)
        result = evaluation.evaluate(path, _other_data(path, data), split, folder, device, threads)
        predictions = evaluation.read_predictions(folder / evaluation.PREDICTIONS)
    figures: dict[str, Any] = {name: result[name] for name in _METRICS}
    figures |= {f"{name}_ci": tuple(result[f"{name}_ci"]) for name in _METRICS}
    return Evaluation(**figures, n=result["n"], split=split, result=result, predictions=predictions)


def evaluate_pages(
    model: ModelLike,
    pages: str | Path,
    segmenter: str = "learned",
    *,
    out: str | Path | None = None,
    device: str = "auto",
) -> PageEvaluation:
    """Scores a model on whole pages, read as `transcribe` does: what finding the lines, and their order, costs.

    Args:
        model: a model's file or name, or what `finetune` returned.
        pages: a PAGE or ALTO file with text, its image beside it, or a folder of them.
        segmenter: what finds the lines.
        out: folder for pages.json and pages.csv; None writes nothing.
        device: auto, cpu, cuda, cuda:1 or mps.

    Raises:
        UserError: no such model or segmenter, or no page with text.
    """
    from functools import partial

    from htr_ssl.pages import page_evaluation, segmenters
    from htr_ssl.recognizers.aligned import read_aligned
    from htr_ssl.recognizers.reader import Reader

    reader = Reader.load(_path(model), device)
    find = segmenters.segmenter(segmenter, reader.charset.direction)
    result = page_evaluation.evaluate_pages([Path(pages)], find, partial(read_aligned, reader))
    if out is not None:
        result.write(Path(out))
    return result


def _other_data(model: Path, data: str | Path | Mapping[str, Any] | DataConfig | None) -> DataConfig | None:
    """The model's own data with other values; a published split stays only with the source it divides."""
    if data is None or isinstance(data, DataConfig):
        return data
    from htr_ssl.model_file import read_header

    own = read_header(model)["data"]
    given = _source(data)
    if given.get("source", own["source"]) != own["source"]:
        own = own | {"format": "auto", "splits": None}
    return _configured(DataConfig, None, own | given, "evaluate")


def _configured(kind: type[Kind], config: Kind | str | Path | None, values: Mapping[str, Any], call: str) -> Kind:
    """A configuration with some of its values replaced.

    Raises:
        UserError: one line for each mistake.
    """
    from pydantic_core import to_jsonable_python

    from htr_ssl.config.checking import checked, plain
    from htr_ssl.config.yaml_files import load_config
    from htr_ssl.config.yaml_tree import Tree

    if isinstance(config, str | Path):
        config = load_config(Path(config), [], kind)
    elif config is not None and not isinstance(config, kind):
        raise UserError(f"htr_ssl.{call}: expected a {kind.__name__} or a YAML file, got a {type(config).__name__}")
    base = {} if config is None else plain(config)
    new = {key: _value(key, value) for key, value in values.items()}
    try:
        whole = _merged(base, to_jsonable_python(new))
    except (TypeError, ValueError) as error:
        raise UserError(f"htr_ssl.{call}: {error}; give plain values") from error
    return checked(Tree(whole, {(): f"htr_ssl.{call}"}), kind)


def _value(key: str, value: Any) -> Any:
    """A value as a configuration has it: a source alone is data, a finished run is its file."""
    if isinstance(value, Pretrained | Finetuned):
        return str(value.path)
    return _source(value) if key in ("data", "unlabelled") and value is not None else value


def _source(data: Any) -> Any:
    return {"source": str(data)} if isinstance(data, str | Path) else data


def _merged(base: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `new`; a mapping is merged unless it names another plugin."""
    result = dict(base)
    for key, value in new.items():
        old = result.get(key)
        same = (
            isinstance(old, dict) and isinstance(value, dict) and value.get("name", old.get("name")) == old.get("name")
        )
        result[key] = _merged(old, value) if same and isinstance(old, dict) and key != "rows" else value
    return result


def _path(model: ModelLike) -> Path:
    from htr_ssl.models import shelf

    return model.path if isinstance(model, Finetuned) else shelf.find(model)


def _several(images: Any) -> list[Any]:
    """A list of images, also of a single one."""
    single = isinstance(images, str | Path) or hasattr(images, "__array_interface__") or hasattr(images, "convert")
    return [images] if single else list(images)


def _decoded(image: Picture) -> np.ndarray:
    """uint8 array (H, W) or (H, W, 3).

    Raises:
        UserError: it is no image.
    """
    import numpy as np
    from PIL import Image

    from htr_ssl.data.images import decode

    if isinstance(image, str | Path):
        return decode(Path(image), str(image))
    if not isinstance(image, np.ndarray | Image.Image):
        raise UserError(f"an image is a file, a PIL image or a uint8 array, not {type(image).__name__}")
    return decode(image, "image")


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of a summary for a person to read."""
    return [(name.replace("_", " "), str(summary[name])) for name in ("steps", "images", "seconds") if name in summary]


def _html(title: str, place: object, rows: Sequence[tuple[str, str]]) -> str:
    """A small table for notebooks."""
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table><caption>{escape(title)}: {escape(str(place))}</caption>{cells}</table>"
