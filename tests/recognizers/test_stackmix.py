"""Lines made of the words of other lines: text and pixels agree, and only labelled train lines of a subset are used."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.config import DataConfig
from htr_ssl.data import synthetic
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.data.reading import read
from htr_ssl.data.samples import Samples
from htr_ssl.data.splits import subsets
from htr_ssl.errors import UserError
from htr_ssl.recognizers.stackmix import stackmix, to_mix
from htr_ssl.text.charset import Charset

STEP = 24  # pixels per character
FORMAT = DataConfig(height=40, max_width=4000)


class Drawn(Samples):
    """Lines in which each character is a box of its own height; a space is paper."""

    def image(self, index):
        text = self.cell("text", index)
        text = text[::-1] if text[0] >= "\u05d0" else text
        image = np.full((40, STEP * len(text)), 240, np.uint8)
        for place, character in enumerate(text):
            if character != " ":
                image[32 - size(character) : 32, STEP * place + 4 : STEP * (place + 1) - 4] = 20
        return image


def size(character):
    return 6 + ord(character) % 16


def drawn(texts, writers=None, split="train"):
    ids = [f"l{number}" for number in range(len(texts))]
    return Drawn(
        {"id": ids, "text": texts, "writer": writers or [None] * len(texts), "split": [split] * len(texts)}, "line"
    )


class Sees:
    """A recognizer that sees which character stands in the middle of each box; of `unsure` ones it is not sure."""

    def __init__(self, texts, unsure=""):
        self.charset, self.unsure = Charset.build(texts), unsure

    def posteriors(self, image):
        logits = torch.zeros(image.shape[1] // 8, len(self.charset))
        logits[:, 0] = 4
        known = {size(c): self.charset.encode(f"b{c}b")[1] for c in self.charset.characters if c != " "}
        for place in range(image.shape[1] // STEP):
            seen = int((image[:, STEP * place + STEP // 2] < 128).sum())
            index = known.get(seen, self.charset.encode("b b")[1])
            sure = 0.5 if seen in map(size, self.unsure) else 9
            logits[3 * place + 1, 0], logits[3 * place + 1, index] = 0, sure
        return logits.log_softmax(1).numpy()


def seen_in(image):
    """Heights of the boxes from left to right."""
    ink = (image < 128).sum(0)
    starts = np.flatnonzero((ink > 0) & (np.r_[0, ink[:-1]] == 0))
    return [int(ink[start + 5]) for start in starts]


def test_lines_show_their_text_and_have_words_of_the_old_lines():
    texts = ["ab cde fg", "hi j klm", "bd ace"]
    found = stackmix(drawn(texts), Sees(texts), 20, FORMAT, seed=1)
    assert found.column("split") == ["train"] * 20
    old = {word for text in texts for word in text.split()}
    order = []
    for sample in found:
        assert set(sample.text.split()) <= old
        image = sample.load()
        assert image.shape[0] == 40
        assert seen_in(image) == [size(c) for c in sample.text.replace(" ", "")]
        assert np.percentile(image, 90) > 240
        order.append(sample.text)
    assert len(set(order)) > 10
    again = stackmix(drawn(texts), Sees(texts), 20, FORMAT, seed=1)
    assert again.column("text") == order
    assert all((a.load() == b.load()).all() for a, b in zip(found, again, strict=True))
    assert stackmix(drawn(texts), Sees(texts), 20, FORMAT, seed=2).column("text") != order


def test_doubtful_words_are_left_out_and_counted():
    texts = ["ab cde fg", "hi j klm"]
    found = stackmix(drawn(texts), Sees(texts, unsure="klm"), 10, FORMAT, confidence=0.5)
    assert not any("klm" in text for text in found.column("text"))
    assert found.left_out == 1
    assert found.words == 5
    with pytest.raises(UserError, match=r"all 6 word\(s\) are below confidence 1"):
        stackmix(drawn(texts), Sees(texts), 10, FORMAT, confidence=1)


def test_words_of_right_to_left_lines_stand_from_right_to_left():
    texts = ["\u05d0\u05d1 \u05d2\u05d3\u05d4"]
    reader = Sees([*texts, "b"])
    reader.charset = Charset.build([*texts, "b"], "rtl")
    found = stackmix(drawn(texts), reader, 8, FORMAT)
    for sample in found:
        assert seen_in(sample.load()) == [size(c) for c in reversed(sample.text.replace(" ", ""))]


def test_a_line_is_of_one_hand_where_the_hands_have_words_enough():
    texts = [" ".join(["ab"] * 60), " ".join(["ab"] * 60), " ".join(["cd"] * 120), "ef gh"]
    found = stackmix(drawn(texts, ["one", "one", "two", "three"]), Sees(texts), 60, FORMAT)
    hands = {"one": {"ab"}, "two": {"cd"}, None: {"ef", "gh"}}
    for sample in found:
        assert set(sample.text.split()) <= hands[sample.writer]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recognizer of synthetic lines, hardly trained, with the list of its labels beside it."""
    from htr_ssl import finetune

    folder = tmp_path_factory.mktemp("stackmix")
    synthetic.write_parquet(synthetic.samples(synthetic.Config(samples=80, hands=10), "line", 0), folder / "x.parquet")
    train = {"steps": 2, "batch_size": 4, "threads": 1, "device": "cpu", "precision": "32"}
    data = {"source": str(folder / "x.parquet"), "height": 32}
    run = finetune(data=data, fraction=0.25, select="last", train=train, out=folder / "run", progress=False)
    return folder, run


def test_the_command_uses_the_labels_of_the_training_alone(trained):
    folder, run = trained
    out = folder / "mixed.parquet"
    command = ["data", "stackmix", str(run.path), str(folder / "x.parquet"), str(out), "--samples", "30", "-q"]
    done = CliRunner().invoke(app, [*command, "--confidence", "0", "--height", "40"])
    assert done.exit_code == 0, done.output
    ids = set(subsets.read(run.folder / "subset.txt"))
    data = read_samples(DataConfig(source=str(folder / "x.parquet")))
    words = {word for sample in data if sample.id in ids for word in (sample.text or "").split()}
    assert f"of {len(ids)} lines" in done.output
    mixed = read(str(out), "auto", "line")
    assert len(mixed) == 30
    assert {word for text in mixed.column("text") for word in text.split()} <= words
    assert {sample.load().shape[0] for sample in mixed} == {40}
    assert set(mixed.column("split")) == {"train"}
    every = to_mix(DataConfig(source=str(folder / "x.parquet")))
    assert len(every) == len(rows_of(data, "train", labelled=True)) > len(ids)


def test_a_list_of_other_data_is_named(trained, tmp_path):
    folder, _ = trained
    subsets.write(tmp_path / "other.txt", ["a", "b"], 1.0, 0, "elsewhere")
    with pytest.raises(UserError, match=r"no labelled line in split 'train' in .*other\.txt"):
        to_mix(DataConfig(source=str(folder / "x.parquet")), tmp_path / "other.txt")
