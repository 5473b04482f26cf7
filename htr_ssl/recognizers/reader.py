"""Reader: a recognizer file, and the language model in it, ready to read line images; needs no configuration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from htr_ssl import model_file
from htr_ssl.config import DataConfig
from htr_ssl.data.loading import collate, prepare
from htr_ssl.errors import UserError
from htr_ssl.measured import cache, number
from htr_ssl.recognizers import language
from htr_ssl.recognizers._fold import fold_norms
from htr_ssl.recognizers._pace import Pace
from htr_ssl.recognizers.language import Language
from htr_ssl.recognizers.probe import ProbeRecognizer
from htr_ssl.recognizers.probe import recognizer as build_recognizer
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.text import beam, ctc
from htr_ssl.text.charset import Charset

Result = TypeVar("Result")
Readings = list[tuple[str, float]]
"""Text and confidence in [0, 1] of each image."""
Network = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(N, C, H, W) in [0, 1], (N,) widths [px] -> logits (T, N, K), lengths (N,)."""

STEEPEST = 50
"""Largest slope of a calibration that is believed; an earlier version could store thousands."""
_NEEDED = ("encoder", "height", "channels", "max_width", "charset")  # in the header of every recognizer


class Reader:
    """Reads images of any size with one recognizer.

    On a CPU every thread reads batches of its own, which is faster than all threads on one batch.

    Attributes:
        header: what the file says of itself.
        charset: characters it can write.
        recognizer: the network; its weights are for reading only.
        device: where it computes.
        language: the language model that it reads with; None = the likeliest path is read.
        choices: what was chosen by measurement, with reasons.
    """

    def __init__(
        self,
        recognizer: Network,
        header: dict[str, Any],
        device: torch.device,
        bf16: bool = False,
        language: Language | None = None,
    ) -> None:
        self.recognizer = recognizer
        self.header = header
        self.charset = Charset.of_model(header)
        self.device = device
        self._bf16 = bf16
        self._pace = Pace(device)
        self.choices = self._pace.choices
        self.use(language)
        self._data = DataConfig(height=header["height"], channels=header["channels"], max_width=header["max_width"])

    @classmethod
    def load(
        cls,
        path: Path,
        device: str = "auto",
        threads: int = 0,
        precision: str = "32",
        lm: str | Path = "auto",
    ) -> Reader:
        """Reader of a model file.

        Args:
            path: model.safetensors of a finetune run, or the .onnx file that `export` made of it.
            device: auto, cpu, cuda, …
            threads: CPU threads; 0 = those of PyTorch, without the cores that other programs keep busy now.
            precision: 32; bf16; auto = the faster one, measured once. bf16 is faster, but the text of an
                image may then depend on the images it is read with.
            lm: language model: auto = the one in the model's file, if there is one; none; or a file of one.

        Raises:
            UserError: not a whole recognizer file, an ONNX file on another device than the CPU, or no language model.
        """
        if threads:
            torch.set_num_threads(threads)
        if Path(path).suffix == ".onnx":
            from htr_ssl.recognizers._onnx import OnnxNetwork

            if device not in ("auto", "cpu"):
                raise UserError(f"{path}: ONNX files are read on the CPU; give device=cpu or the model.safetensors")
            network = OnnxNetwork(Path(path))
            return cls(network, network.header, torch.device("cpu"), False, _language(lm, None))._paced(threads)
        recognizer, header, own = _load(Path(path))
        if not 0 <= (header.get(language.CALIBRATION) or (1, 0))[0] <= STEEPEST:
            warnings.warn(
                f"{path}: its calibration is damaged, so that confidences are the network's own; "
                "fine-tune again to have them calibrated",
                stacklevel=2,
            )
            header.pop(language.CALIBRATION)
        if lm != "auto" and (own is not None or lm != "none"):
            header.pop(language.CALIBRATION, None)  # it holds for what it was fitted with
        target = model_file.resolve_device(device)
        fold_norms(recognizer)
        bf16 = (number.choose(header, target, training=False)[0] if precision == "auto" else precision) == "bf16"
        recognizer = recognizer.to(target).to(memory_format=torch.channels_last)
        return cls(recognizer, header, target, bf16, _language(lm, own))._paced(threads)

    def _paced(self, threads: int) -> Reader:
        """This reader, with so many threads; 0 = as many as there are free cores."""
        if not threads:
            self._pace.leave_busy_cores()
        return self

    def use(self, language: Language | None) -> None:
        """Reads with this language model from now on; None = without.

        Raises:
            UserError: it was learnt from text of the other direction.
        """
        if language is not None and language.facts.get("direction", self.charset.direction) != self.charset.direction:
            raise UserError(
                f"the language model is of text that runs {language.facts['direction']}, the recognizer's lines run "
                f"{self.charset.direction}; give one of the same direction, or none"
            )
        self.language = language
        self._decoder = None if language is None else beam.Decoder(self.charset, language.model, language.options)

    def read(self, images: Sequence[np.ndarray], batch_size: int = 32) -> Readings:
        """Texts of images in the given order.

        Args:
            images: uint8, (H, W) gray or (H, W, 3) RGB, one word or line each.
            batch_size: most images read at once; wide ones are fewer, so that the memory is bounded.
        """
        return self.read_strips(self.prepared(images), batch_size)

    def read_strips(self, strips: Sequence[np.ndarray], batch_size: int = 32) -> Readings:
        """Texts of images that `prepare` has brought to the model's height."""
        if self._decoder is not None:
            return [found[0][:2] for found in self._alternatives(strips, 1, batch_size)]
        results: Readings = [("", 0.0)] * len(strips)
        for rows, readings in self._batches(strips, batch_size, self._greedy):
            for row, reading in zip(rows, readings, strict=True):
                results[row] = reading
        return results

    def read_scored(self, strips: Sequence[np.ndarray], batch_size: int = 32) -> tuple[Readings, list[np.ndarray]]:
        """Texts, see `read_strips`, and the log-posteriors (T, K) that they come from."""
        scores = self.scores(strips, batch_size)
        if self._decoder is not None:
            return [found[0][:2] for found in self._decoded(scores, 1)], scores
        return self.paths(scores), scores

    def paths(self, scores: Sequence[np.ndarray]) -> Readings:
        """Texts of the likeliest paths of log-posteriors (T, K), what the network reads without a language model."""
        readings: Readings = []
        for one in scores:
            ((indices, confidence),) = ctc.greedy(torch.from_numpy(one)[:, None], torch.tensor([len(one)]))
            readings.append((self.charset.decode(indices), confidence))
        return readings

    def alternatives(
        self, images: Sequence[np.ndarray], count: int = 5, batch_size: int = 32
    ) -> list[list[tuple[str, float, float]]]:
        """Text, confidence and share in the beam's probability of the best readings of each image, best first.

        Without a language model the beam search takes the network's word alone.

        Args:
            images: see `read`.
            count: most readings of an image, at most the width of the beam.
            batch_size: see `read`.
        """
        return self._alternatives(self.prepared(images), count, batch_size)

    def scores(self, strips: Sequence[np.ndarray], batch_size: int = 32) -> list[np.ndarray]:
        """Log-posteriors (T, K) of images that `prepare` has brought to the model's height."""
        results: list[np.ndarray] = [np.zeros((0, len(self.charset)), np.float32)] * len(strips)
        for rows, scores in self._batches(strips, batch_size, self._scores):
            for row, one in zip(rows, scores, strict=True):
                results[row] = one
        return results

    def posteriors(self, image: np.ndarray) -> np.ndarray:
        """Log-posteriors (T, K) of every frame of one image, natural logarithm; class 0 is the blank."""
        logits, lengths = self._logits([prepare(image, self._data)])
        scores: np.ndarray = logits[: int(lengths[0]), 0].float().log_softmax(1).cpu().numpy()
        return scores

    # Inference mode and autocast belong to a thread: they must be entered here.
    @torch.inference_mode()
    def _logits(self, strips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Logits (T, N, K) and lengths (N,) of one batch."""
        images = collate(strips, range(len(strips))).to(self.device).images()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            return self.recognizer(images.pixels, images.widths)

    def _greedy(self, strips: Sequence[np.ndarray]) -> Readings:
        """Texts of the likeliest paths of one batch."""
        logits, lengths = self._logits(strips)
        return [(self.charset.decode(indices), confidence) for indices, confidence in ctc.greedy(logits, lengths)]

    def _scores(self, strips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log-posteriors (T, K) of each image of one batch."""
        logits, lengths = self._logits(strips)
        scores = logits.float().log_softmax(2).cpu().numpy()
        return [scores[:length, row].copy() for row, length in enumerate(lengths.tolist())]

    def formatted(self, data: DataConfig) -> DataConfig:
        """The data with its images in the format of the model, whose strips this reads."""
        return data.model_copy(update={name: getattr(self._data, name) for name in ("height", "channels", "max_width")})

    def prepared(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Images brought to the height of the model."""
        with self._pace.pool(len(images)) as run:
            return list(run(partial(prepare, config=self._data), images))

    def _batches(
        self, strips: Sequence[np.ndarray], batch_size: int, work: Callable[[Sequence[np.ndarray]], list[Result]]
    ) -> Iterator[tuple[list[int], list[Result]]]:
        """Positions of each batch and what `work` makes of it, the widest images first."""
        batches = self._pace.batches([strip.shape[1] for strip in strips], batch_size, self._facts, self._read_noise)
        with self._pace.pool(len(batches), self.device.type == "cpu") as run:
            yield from zip(batches, run(work, ([strips[i] for i in batch] for batch in batches)), strict=True)

    def _facts(self) -> list[Any]:
        """What decides how fast it reads."""
        return [cache.network(self.header), type(self.recognizer).__name__, self._bf16]

    def _read_noise(self, images: int, width: int) -> None:
        """Reads so many images of a width [px], for the time it takes."""
        shape = (self.header["height"], width, self.header["channels"])
        self._logits([np.random.default_rng(0).integers(0, 255, shape, np.uint8)] * images)

    def _alternatives(
        self, strips: Sequence[np.ndarray], count: int, batch_size: int
    ) -> list[list[tuple[str, float, float]]]:
        """See `alternatives`; texts are searched while the network reads on."""
        results: list[list[tuple[str, float, float]]] = [[] for _ in strips]
        waiting: list[tuple[int, np.ndarray]] = []

        def search(least: int) -> None:
            if len(waiting) >= least:
                found = self._decoded([scores for _, scores in waiting], count)
                for (row, _), readings in zip(waiting, found, strict=True):
                    results[row] = readings
                waiting.clear()

        for rows, scores in self._batches(strips, batch_size, self._scores):
            waiting += zip(rows, scores, strict=True)
            search(beam.GROUP)
        search(1)
        return results

    def _decoded(self, scores: Sequence[np.ndarray], count: int) -> list[list[tuple[str, float, float]]]:
        decoder = self._decoder or beam.Decoder(self.charset, None, beam.Options(0.0, 0.0))
        return [
            [(self.charset.decode(one.indices), beam.confidence(one, len(own)), one.share) for one in found]
            for own, found in zip(scores, decoder(scores, count), strict=True)
        ]


def load_recognizer(path: Path) -> tuple[Recognizer | ProbeRecognizer, dict[str, Any]]:
    """Recognizer of a safetensors file on the CPU, in evaluation mode, and the file's header.

    Raises:
        UserError: not a whole recognizer file.
    """
    return _load(path)[:2]


def _load(path: Path) -> tuple[Recognizer | ProbeRecognizer, dict[str, Any], Language | None]:
    """Recognizer and header, see `load_recognizer`, and the language model of the file."""
    header, state = model_file.read(path)
    if header.get("kind") != "recognizer":
        raise UserError(
            f"{path}: it is an {header.get('kind')} without a CTC head; fine-tune it first (finetune init={path})"
        )
    missing = [key for key in _NEEDED if key not in header]
    if missing:
        raise UserError(f"{path}: its header lacks {', '.join(missing)}; it is no model of this program, or damaged")
    own = language.stored(str(path), header, state)
    options = {key: value for key, value in header["encoder"].items() if key != "name"}
    encoder = model_file.build_encoder(header["encoder"]["name"], options, header["height"], header["channels"])
    classes = len(Charset.of_model(header))
    recognizer = build_recognizer(encoder, classes, header.get("probe", "none"), header.get("scope", "encoder"))
    try:
        recognizer.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path}: its weights do not fit its header; train or copy it again") from error
    return recognizer.eval(), header, own


def _language(lm: str | Path, own: Language | None) -> Language | None:
    """The language model of an option; see `Reader.load`."""
    if lm == "auto":
        return own
    return None if lm == "none" else language.load(Path(lm))
