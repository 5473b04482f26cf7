"""Right-to-left script is learnt as well as left-to-right, and the model file knows which it is."""

import warnings

import numpy as np
import pytest
from PIL import Image

from htr_ssl import model_file
from htr_ssl.config import FinetuneConfig
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.recognizers.export import export
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text.charset import Charset
from htr_ssl.training import finetune

LETTERS = "\u05d0\u05d1\u05d2\u05d3"
WIDTH = 14


def drawn(shown):
    """A line of bold figures, one for each character from left to right: strokes at four heights."""
    image = np.full((32, 10 + WIDTH * len(shown)), 230, np.uint8)
    for place, character in enumerate(shown):
        left = 5 + WIDTH * place
        kind = (LETTERS + "12").index(character)
        image[4:28, left : left + 3] = 30
        image[4 + 4 * kind : 8 + 4 * kind, left : left + 10] = 30
    return image


def data(folder, count, texts):
    random = np.random.default_rng(0)
    for number in range(count):
        text, shown = texts(random)
        Image.fromarray(drawn(shown)).save(folder / f"{number:03d}.png")
        (folder / f"{number:03d}.gt.txt").write_text(text, encoding="utf-8")


def hebrew(random):
    """Letters from right to left, with a number in the middle, which is written from left to right."""
    first, second = ("".join(random.choice(list(LETTERS), random.integers(1, 4))) for _ in range(2))
    return f"{first}12{second}", f"{second[::-1]}12{first[::-1]}"


def reversed_digits(random):
    text = "".join(random.choice(list("12"), random.integers(2, 6)))
    return text, text[::-1]


def config(folder, steps, **more):
    train = {"steps": steps, "batch_size": 16, "check_every": steps, "threads": 1, "lr": 3e-3}
    changes = ("slant", "stretch", "scale", "shift", "rotate", "elastic", "blur", "noise", "mask", "stroke")
    off = dict.fromkeys(changes, 0)
    return FinetuneConfig(
        data={"source": str(folder), "height": 16, **more}, train=train, augment=off, encoder={"name": "crnn"}
    )


def test_hebrew_with_numbers_is_learnt(tmp_path):
    (tmp_path / "lines").mkdir()
    data(tmp_path / "lines", 120, hebrew)
    path = finetune.run(config(tmp_path / "lines", 60), tmp_path / "run", progress=False)
    assert model_file.read_header(path)["direction"] == "rtl"
    assert evaluate(path)["cer"] < 0.15  # with labels from right to left it stays above 0.5
    reader = Reader.load(path)
    assert reader.charset.direction == "rtl"
    image = drawn(f"{LETTERS[1]}12{LETTERS[0]}")
    text = reader.read([image])[0][0]
    assert text == f"{LETTERS[0]}12{LETTERS[1]}"
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    export(path, tmp_path / "model.onnx")
    other = Reader.load(tmp_path / "model.onnx")
    assert other.charset.direction == "rtl"
    assert other.read([image])[0][0] == text


@pytest.mark.parametrize(
    ("texts", "said", "direction"),
    [
        (hebrew, "auto", "rtl"),
        (hebrew, "ltr", "ltr"),
        (hebrew, "reversed", "reversed"),
        (reversed_digits, "auto", "ltr"),
        (reversed_digits, "rtl", "reversed"),
    ],
)
def test_direction_is_found_or_said(texts, said, direction, tmp_path):
    (tmp_path / "lines").mkdir()
    data(tmp_path / "lines", 12, texts)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = finetune.run(config(tmp_path / "lines", 1, direction=said), tmp_path / "run", progress=False)
    header = model_file.read_header(path)
    assert header["direction"] == direction
    charset = Charset.of_model(header)
    for text, shown in (texts(np.random.default_rng(seed)) for seed in range(5)):
        image_order = shown if (texts, said) != (hebrew, "reversed") else text[::-1]
        expected = image_order if direction != "ltr" or texts is hebrew else text
        if not charset.unseen([text]):
            assert "".join(charset.characters[i - 1] for i in charset.encode(text)) == expected
    assert any("transliterations" in str(item.message) for item in caught) == (said == "rtl" and texts is not hebrew)
