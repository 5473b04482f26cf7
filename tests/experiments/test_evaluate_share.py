"""Which images of other data are scored is said where it is not all of them."""

import warnings

import pytest
from random_models import random_model

from htr_ssl.config import DataConfig
from htr_ssl.data import synthetic
from htr_ssl.experiments.evaluate import evaluate


@pytest.mark.parametrize(("split", "said"), [("test", True), ("all", False)])
def test_the_share_of_other_data_is_said(tmp_path, split, said):
    model = random_model(tmp_path / "model.safetensors")
    synthetic.write_parquet(synthetic.samples(synthetic.Config(samples=30), "line", 0), tmp_path / "lines.parquet")
    data = DataConfig(source=str(tmp_path / "lines.parquet"), height=32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluate(model, data, split, tmp_path / "out", "cpu", 1)
    assert any("of 30 images with a text are scored" in str(one.message) for one in caught) == said
