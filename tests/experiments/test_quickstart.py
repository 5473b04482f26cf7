"""The quickstart with the fewest steps: everything it promises is there."""

import re
import warnings

import pytest

from htr_ssl.experiments import quickstart

SHORT = {"steps": 2, "batch_size": 4, "check_every": 2, "threads": 1}


def small(texts, seed):
    """The quickstart's table with less of everything."""
    whole = quickstart.config(texts, seed)
    stages = {
        row: [stage.model_copy(update={"train": stage.train.model_copy(update=SHORT)}) for stage in stages]
        for row, stages in whole.rows.items()
    }
    synthetic = whole.data.synthetic | {"samples": 200}
    return whole.model_copy(
        update={
            "data": whole.data.model_copy(update={"synthetic": synthetic}),
            "rows": stages,
            "fractions": [0.5, 1.0],
            "train": whole.train.model_copy(update=SHORT),
        }
    )


@pytest.mark.slow
def test_quickstart_leaves_a_report_and_a_transcribed_page(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = quickstart.run(tmp_path / "out", 0, small)
    text = report.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") >= 7
    assert not re.search(r'(src|href)="(?!data:)', text), "it must load nothing from elsewhere"
    assert "<script" not in text
    for name in ("supervised", *quickstart.METHODS):
        assert name in text
    made = {path.name for path in (tmp_path / "out" / "transcription").iterdir()}
    assert {"page.txt", "page.json", "page.alto.xml", "page.overlay.jpg"} <= made
    assert {"table.md", "table.csv", "table.tex", "curve.png"} <= {
        p.name for p in (tmp_path / "out" / "table").iterdir()
    }


def test_every_row_of_the_quickstart_is_fine_tuned_alike(tmp_path):
    table = quickstart.config(tmp_path / "texts.txt", 0)
    assert table.fractions == [0.05, 0.1, 1.0]
    assert table.rows["supervised"] == []
    assert all(stage.synthetic is None for stages in table.rows.values() for stage in stages)
