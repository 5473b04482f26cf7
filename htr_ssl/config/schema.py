"""Configurations: one YAML file is one complete run; frozen models whose attribute docstrings are the documentation.

Encoders, methods and synthetic data bring their own ``Config``; here they are a mapping whose ``name`` picks the file
(`PluginConfig`). The defaults are the recommended recipe: a configuration states what differs. Reading YAML,
overrides and error messages are in `yaml_files`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Precision = Annotated[
    Literal["auto", "32", "bf16"], BeforeValidator(lambda value: "32" if type(value) is int and value == 32 else value)
]
Scope = Literal["backbone", "encoder"]
Probe = Literal["none", "linear", "bilstm"]
Unit = Literal["writer", "page", "sample"]
Select = Literal["last", "validation", "proportional"]
SubsetBy = Literal["sample", "page", "writer"]
_LARGEST_PIPELINE = 1 << 20  # bytes of a file with a pipeline


CHECKED = "plugins are checked"
"""Context of a validation whose caller checks the options of plugins himself, because he knows where they stand."""


class Strict(BaseModel):
    """Base of every configuration: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("encoder", "method", "synthetic", mode="before", check_fields=False)
    @classmethod
    def _plugin(cls, value: Any, info: ValidationInfo) -> Any:
        """A plugin's name alone becomes a mapping; its name and options are checked by the plugin."""
        if info.context == CHECKED or value is None:
            return value
        from htr_ssl.config.plugin_places import check_plugin

        return check_plugin(str(info.field_name), value, info.data.get("source", "synthetic") == "synthetic")


class PluginConfig(BaseModel):
    """A plugin's name and its own options, e.g. ``{name: crnn, preset: small}``; checked by the plugin's ``Config``."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    name: str
    """File name of the plugin, without .py."""

    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class DataConfig(Strict):
    """What to read and how images are brought to one height."""

    source: str = "synthetic"
    """A Parquet file, a folder of images (with or without .gt.txt files), or `synthetic`."""
    format: str = "auto"
    """Reader to use (see `htr-ssl formats`); `auto` looks at the source."""
    level: Literal["word", "line"] = "line"
    """What one image shows."""
    splits: str | None = None
    """Published split to divide the source by (see `htr-ssl splits`), or a .yaml file with a list of your own. None
    takes the splits that the source names."""
    height: int = Field(40, ge=16, le=256)
    """Height [px] every image is scaled to; the width stays in proportion."""
    max_width: int = Field(2000, ge=64, le=10000)
    """Images wider than this after scaling are squeezed to it [px]."""
    channels: Literal[1, 3] = 1
    """1 = gray, 3 = colour."""
    direction: Literal["auto", "ltr", "rtl", "reversed"] = "auto"
    """Direction of writing of lines with letters of both directions or none: auto = that of most letters of the train
    labels; ltr = from left to right; rtl = from right to left, also where the labels are transliterations without a
    right-to-left letter; reversed = each label is reversed as a whole."""
    validation: float = Field(0.1, ge=0, lt=1)
    """Share of the labelled images set aside for validation if the source names no splits."""
    test: float = Field(0.1, ge=0, lt=1)
    """Share of the labelled images set aside for the test if the source names no splits."""
    cache: str | None = None
    """Folder that keeps the images of all splits decoded and scaled, for this and later runs (see docs/scale.md)."""
    seed: int = 0
    """Seed of the splits drawn here and of synthetic handwriting; apart from the run's seed, so that all runs share
    one test split."""
    detokenise: bool = False
    """Join what stands apart in the texts (`word .` becomes `word.`), as in IAM's list of lines; the name of the text
    rule says so."""
    synthetic: dict[str, Any] = Field(default_factory=dict)
    """Options of the synthetic handwriting (only with `source: synthetic`)."""


def _pipeline(value: Any) -> Any:
    """Content of the file that is named, so that a run holds what it was made with."""
    if not value:  # zero switches every kind of augmentation off
        return None
    if not isinstance(value, str):
        return value
    try:
        with open(value, "rb") as file:
            text = file.read(_LARGEST_PIPELINE + 1)
        content = yaml.safe_load(text) if len(text) <= _LARGEST_PIPELINE else None
    except OSError as error:
        raise ValueError(f"{value}: {error.strerror}; check the path") from error
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise ValueError(f"{value}: this is neither YAML nor JSON ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not isinstance(content.get("transform"), dict):
        raise ValueError(
            f"{value}: this is no pipeline of albumentations, which has the key transform; write it with "
            "albumentations.save(pipeline, path, data_format='yaml')"
        )
    return {"transform": content["transform"]}


class AugmentConfig(Strict):
    """Random changes of training images; all zero switches augmentation off.

    SeqCLR's list (arXiv 2012.10873) in these terms: linear contrast = `contrast`; blur and sharpening = `blur`; crop of
    top and bottom = `crop`; crop of left and right by 2 % = the shift between a method's views; piecewise affine =
    `elastic`; perspective = `perspective`. Beyond it: pens (`slant`, `stroke`, `fading`), hands (`stretch`, `scale`),
    lines not cut straight (`shift`, `rotate`), paper (`bleed`, `texture`, `noise`), and `mask`.
    """

    slant: float = Field(0.3, ge=0, le=1)
    """Largest shear: horizontal shift per pixel of height."""
    stretch: float = Field(0.2, ge=0, lt=0.6)
    """Largest relative change of the width."""
    scale: float = Field(0.12, ge=0, lt=0.5)
    """Largest relative change of the writing's height inside the image."""
    shift: float = Field(0.06, ge=0, lt=0.5)
    """Largest vertical shift, as a share of the height."""
    rotate: float = Field(1.5, ge=0, le=15)
    """Largest rotation of words [degrees]; lines turn less, in proportion to their length."""
    elastic: float = Field(0.03, ge=0, le=0.3)
    """Strength of the smooth local distortion, as a share of the height."""
    perspective: float = Field(0.0, ge=0, le=0.3)
    """Largest shift of each corner of the image, in both directions, as a share of the height."""
    crop: float = Field(0.0, ge=0, lt=0.5)
    """Largest share of the height cut off at the top, and at the bottom; what is left fills the height."""
    stroke: float = Field(0.5, ge=0, le=1)
    """Largest share of a thicker or thinner copy of the strokes blended in."""
    contrast: float = Field(0.2, ge=0, lt=1)
    """Largest relative change of contrast, and of its slow change along the line."""
    fading: float = Field(0.0, ge=0, le=1)
    """Largest share of the ink that is missing where the pen runs dry, in patches of half a letter."""
    blur: float = Field(0.3, ge=0, le=1)
    """Largest share of a blurred (or sharpened) copy blended in."""
    bleed: float = Field(0.0, ge=0, le=1)
    """Largest share of the ink of the sheet's back that shines through: a mirrored other image of the batch."""
    texture: float = Field(0.0, ge=0, le=1)
    """Darkest stains and grain of the paper (black = 1)."""
    noise: float = Field(0.02, ge=0, le=0.5)
    """Largest standard deviation of the pixel noise (white = 1)."""
    mask: float = Field(0.05, ge=0, lt=1)
    """Largest share of columns painted over with paper, in spans of a quarter of the height, which
    may join."""
    pipeline: Annotated[dict[str, Any] | None, BeforeValidator(_pipeline)] = None
    """File with your own changes of the pixels, a pipeline that albumentations saved as YAML or JSON; they come before
    all others (needs the extra `albumentations`)."""


class TrainConfig(Strict):
    """Schedule, optimiser and hardware of one training; the defaults are those of fine-tuning."""

    steps: int = Field(5000, ge=1)
    """Number of updates."""
    batch_size: int = Field(16, ge=1)
    """Images per update, over all processes together."""
    optimiser: Literal["muon", "adamw"] = "muon"
    """muon = Muon on the encoder's matrices and AdamW on the rest; adamw = AdamW on everything."""
    lr: float = Field(2e-3, gt=0)
    """Peak learning rate of AdamW; Muon's is ten times as high."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay (not on biases and normalisation)."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises; then it follows a cosine to zero."""
    clip: float = Field(1.0, gt=0)
    """Gradients are scaled to at most this norm."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average of the weights that is validated and saved; 0 = off."""
    check_every: int = Field(100, ge=1)
    """Steps between two checkpoints; a killed run loses at most these."""
    patience: int = Field(0, ge=0)
    """Checks without a better validation CER before fine-tuning stops early; 0 = never."""
    precision: Precision = "auto"
    """auto = bf16 where it is clearly faster: on a CPU timed once per network, on a GPU wherever there is bf16."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    threads: int = Field(0, ge=0)
    """CPU threads of each process; 0 = as many of its free cores as are fastest, measured (see docs/speed.md)."""
    devices: int = Field(1, ge=1)
    """Processes per machine that share every batch: one per GPU, or several on the CPU (see docs/scale.md)."""
    num_nodes: int = Field(1, ge=1)
    """Machines."""
    workers: int = Field(-1, ge=-1)
    """Loader processes; -1 = none if the images fit into memory, else one per spare core."""
    track: bool = False
    """Also log to TensorBoard in the run's folder (needs the extra `track`)."""


HARDWARE = ("device", "devices", "num_nodes", "threads", "workers", "track")
"""Keys of `TrainConfig` that say where a training runs, not what it does: they may change while it goes on."""
BEFORE_THE_CHOICE = "adamw"
"""Optimiser of runs and tables that are older than the key and do not name one."""


def _recipe(**values: Any) -> BeforeValidator:
    """Defaults of a kind of training that are not those of `TrainConfig`, for mappings that leave the keys out."""
    return BeforeValidator(lambda value: {**values, **value} if isinstance(value, dict) else value)


_SELF_SUPERVISED: dict[str, Any] = {"batch_size": 32, "lr": 1e-3}
_IN_A_TABLE: dict[str, Any] = {"steps": 3000}


class PretrainConfig(Strict):
    """Self-supervised pretraining of an encoder on images without text."""

    name: str = "pretrain"
    """The run's folder under runs/."""
    seed: int = 0
    """Seed of everything random."""
    data: DataConfig = DataConfig()
    """Images; every train image is used, with or without text."""
    encoder: PluginConfig = PluginConfig(name="crnn")
    """Architecture (see `htr-ssl encoders`)."""
    init: str | None = None
    """Encoder or recognizer file whose encoder weights to start from."""
    method: PluginConfig = PluginConfig(name="simclr")
    """Objective (see `htr-ssl methods`)."""
    scope: Scope = "backbone"
    """Part of the encoder that is pretrained and saved: the backbone alone, or with its context model."""
    evaluated: DataConfig | None = None
    """Data that the encoder will be scored on, of the same height and channels: copies of its validation and test
    images are left out; null = the run's own data."""
    transductive: bool = False
    """Keep copies of validation and test images; the model file then says so."""
    train: Annotated[TrainConfig, _recipe(**_SELF_SUPERVISED)] = TrainConfig(**_SELF_SUPERVISED)
    """Schedule and hardware."""


class Joint(Strict):
    """A self-supervised objective beside CTC: every update has labelled and unlabelled images, and both losses."""

    method: PluginConfig
    """Objective (see `htr-ssl methods`)."""
    scope: Scope = "encoder"
    """Part of the encoder that it trains: the backbone alone, or with its context model."""
    weight: float = Field(1.0, gt=0)
    """Weight of its loss; CTC has 1 per head."""
    batch_size: int = Field(32, ge=1)
    """Unlabelled images per update, over all processes together; `train.batch_size` counts the labelled ones."""
    data: DataConfig | None = None
    """Images, of the same height and channels; null = the train images of the run's own data, with or without text."""
    evaluated: DataConfig | None = None
    """Data whose validation and test images are left out of these; null = the run's own data."""


class LanguageConfig(Strict):
    """A language model of characters that is learnt with a recognizer and stored in its file.

    It is made from the labels of the training's own subset, from `text`, and from the language model of `init` if that
    has one. How much each counts, and the two weights of the search, are chosen on the validation images that may
    choose a checkpoint; with `select=last` on a share of them as small as `fraction`. If these are fewer than 30, the
    search keeps the weights of `init`, and every second label tells how much each counts.
    """

    order: int = Field(7, ge=1, le=12)
    """Characters of the longest n-grams."""
    size: int = Field(500_000, ge=0)
    """Most n-grams kept of the labels, and of the texts; 0 = all."""
    text: list[str] = []
    """Text files (.txt), or data sources, whose train labels are text too."""


class FinetuneConfig(Strict):
    """Training of a recognizer (encoder + CTC) on labelled images."""

    name: str = "finetune"
    """The run's folder under runs/."""
    seed: int = 0
    """Seed of everything random, the subset of labels included."""
    data: DataConfig = DataConfig()
    """Labelled images; the test split is never opened."""
    encoder: PluginConfig = PluginConfig(name="crnn")
    """Architecture (see `htr-ssl encoders`)."""
    init: str | None = None
    """Encoder or recognizer file whose weights to start from."""
    continue_from: str | None = None
    """Recognizer that an earlier training from this `init` has left: its weights are the first ones here, but the
    language model is still made from that of `init`. null = the weights of `init`."""
    charset: Literal["union", "new", "fail"] = "union"
    """With a recognizer as `init`: keep its characters too, take the new data's only, or stop if they differ."""
    fraction: float = Field(1.0, gt=0, le=1)
    """Share of the train labels to use; smaller subsets lie inside larger ones."""
    subset_by: SubsetBy = "sample"
    """What is drawn: samples, or whole pages or writers until they have that share of the labels."""
    select: Select = "validation"
    """Which weights are saved: last = those after the last step, no validation label decides; validation = those with
    the lowest CER on all validation labels; proportional = on a share of them as small as `fraction`, nested too."""
    transductive: bool = False
    """Keep copies of validation and test images among those of `joint`; the model file then says so."""
    pseudo: str | None = None
    """File of pseudo-labels to train on beside the labels: pseudo.json of a table's `pseudo` stage."""
    joint: Joint | None = None
    """Self-supervised objective on unlabelled images in the same updates; null = none."""
    probe: Probe = "none"
    """none = everything learns; linear, bilstm = the encoder is frozen, only a linear layer, or a BiLSTM and a linear
    layer, on its frames learn; they need a higher learning rate (see docs/table.md)."""
    head_warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the steps in which only the CTC head learns (with `init`)."""
    lm: LanguageConfig | None = None
    """Language model to store with the recognizer, such as `{}`; null = none, the likeliest path is read."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of the training images."""
    train: TrainConfig = TrainConfig()
    """Schedule and hardware."""


class Pseudo(Strict):
    """One round of pseudo-labels: what a recognizer reads in unlabelled images, where it is most confident."""

    keep: float = Field(0.5, gt=0, le=1)
    """Share of the unlabelled train images that is kept, the most confident readings first."""
    width_groups: int = Field(1, ge=1)
    """Number of groups of similar width. The share is kept in each group; otherwise short words crowd out long ones."""
    parts: int = Field(0, ge=0, le=20)
    """Parts in which the images are read a second time, each with a language model that has learnt the readings of the
    other parts; below 2 they are read once. The recognizer needs a language model for it (`lm`)."""
    most: int = Field(0, ge=0)
    """Most images that are read, evenly spread over the data; 0 = all."""


class Stage(Strict):
    """One step before fine-tuning: a method on unlabelled images, CTC on synthetic handwriting, or pseudo-labels."""

    method: PluginConfig | None = None
    """Self-supervised objective on all train images of the table's data, or of `unlabelled`."""
    synthetic: dict[str, Any] | None = None
    """Options of the synthetic handwriting; its text comes from n-grams of the labelled subset only."""
    joint: Joint | None = None
    """With `synthetic`: an objective learnt beside it in one loss, on the images a method of its own would see."""
    pseudo: Pseudo | None = None
    """Last stage of a row: the row so far is fine-tuned on the labels and reads the unlabelled train images; the most
    confident readings are labels too in the fine-tuning, which starts where this one did."""
    scope: Scope = "encoder"
    """Part of the encoder that a method pretrains and hands on."""
    train: Annotated[TrainConfig, _recipe(**_IN_A_TABLE)] = TrainConfig(**_IN_A_TABLE)
    """Schedule of this stage; a method has the batch size and learning rate of pretraining."""

    @model_validator(mode="before")
    @classmethod
    def _train(cls, value: Any) -> Any:
        """Defaults of a method's schedule."""
        if not isinstance(value, dict) or value.get("method") is None:
            return value
        train = value.get("train", {})
        return {**value, "train": {**_SELF_SUPERVISED, **train}} if isinstance(train, dict) else value


def _rows() -> dict[str, list[Stage]]:
    """Rows worth comparing first: no pretraining, synthetic handwriting, a pretext task, a contrastive method, both."""
    synthetic = Stage(synthetic={"samples": 8000, "hands": 400})
    rotation = Stage(method=PluginConfig(name="rotation"), train=TrainConfig(steps=6000, **_SELF_SUPERVISED))
    simclr = Stage(method=PluginConfig(name="simclr"), scope="backbone")
    return {
        "supervised": [],
        "synthetic": [synthetic],
        "rotation": [rotation],
        "simclr": [simclr],
        "simclr+synthetic": [simclr, synthetic],
    }


class TableConfig(Strict):
    """Rows × fractions × seeds under one protocol: every row is fine-tuned and scored in the same way."""

    name: str = "table"
    """The table's folder under runs/."""
    data: DataConfig = DataConfig()
    """Images and labels."""
    unlabelled: DataConfig | None = None
    """Images whose train split the methods see instead of that of `data`, of the same height and channels."""
    encoder: PluginConfig = PluginConfig(name="crnn")
    """Architecture of every row."""
    rows: dict[str, list[Stage]] = Field(default_factory=_rows)
    """Row name -> stages before fine-tuning, in order; none = the supervised baseline."""
    baseline: str | None = None
    """Row that the others are compared with; null = the first row without stages."""
    fractions: list[float] = [0.05, 0.1, 1.0]
    """Shares of the train labels."""
    seeds: dict[float, list[int]] | list[int] = [0, 1, 2]
    """Seeds, the same for all fractions or fraction -> seeds."""
    probes: list[Probe] = ["none"]
    """What is trained at the end, a part of the table for each: none = everything (fine-tuning), linear, bilstm = that
    alone on the frozen encoder."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation of every fine-tuning."""
    lm: LanguageConfig | None = None
    """Language model of each cell's own labels; the table then says what is read with and without. null = none."""
    train: Annotated[TrainConfig, _recipe(**_IN_A_TABLE)] = TrainConfig(**_IN_A_TABLE)
    """Schedule of every fine-tuning."""
    report: Literal["validation", "test"] = "validation"
    """Split that is scored: validation while something is still being chosen, test once at the end (`--final`)."""
    select: Select = "last"
    """Which weights of a fine-tuning are scored: last = those after the last step, without any validation label;
    validation = the best on all validation labels; proportional = on a share as small as the fraction."""
    subset_by: SubsetBy = "sample"
    """What the fractions draw: samples, or whole pages or writers until they have that share of the labels."""
    pretrain_seeds: Literal["shared", "own"] = "shared"
    """shared = one pretraining, with the first seed, for all cells of a row; own = one for each seed."""
    transductive: bool = False
    """Keep copies of validation and test images among the unlabelled ones; caption and model files then say so."""
    matched: bool = True
    """Where a row has a self-supervised method: a further row, supervised until as much image has gone through the
    encoder as in the most expensive of them, pretraining included."""
    matched_steps: int | None = Field(None, ge=1)
    """Steps of that row's fine-tuning, computed and written down when a table is begun; leave it out."""
    interval_unit: Unit | None = None
    """What is resampled as a whole for intervals and p-values; null = the coarsest of writer, page and sample that is
    known and has five members at least in the split that is reported."""
    pairs: bool = False
    """Also compare every row with every other: pairs.md and pairs.csv, corrected for the number of pairs."""
    probe_train: TrainConfig | None = None
    """Schedule of every linear and bilstm probe; null = that of the fine-tuning."""
