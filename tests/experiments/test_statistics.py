import statistics

import numpy as np
import pytest
from handmade import predictions, put_result

from htr_ssl.config import TableConfig
from htr_ssl.config.yaml_files import dump_config
from htr_ssl.experiments import render, table
from htr_ssl.experiments.evaluate import score
from htr_ssl.files import write_text
from htr_ssl.text import metrics

METHOD = [{"method": {"name": "masked_image"}}]


def collected(out, cells, seeds=(0, 1, 2), rows=None, fractions=(0.05,), **more):
    """Table of given readings, {(row, fraction, seed): predictions}."""
    value = {
        "rows": rows or {"supervised": [], "masked": METHOD},
        "fractions": fractions,
        "seeds": list(seeds),
        "matched": False,
        **more,
    }
    config = TableConfig.model_validate({**value, "data": {"source": "a.parquet", "level": "word"}})
    write_text(out / "config.yaml", dump_config(config))
    config = table.collect(out).config
    for (row, fraction, seed), items in cells.items():
        put_result(config, out, row, fraction, seed, items)
    return table.collect(out)


def test_mean_and_deviation_are_over_seeds(tmp_path):
    items = {seed: predictions(0.3 + 0.1 * seed, seed) for seed in range(3)}
    result = collected(tmp_path, {("supervised", 0.05, seed): value for seed, value in items.items()})
    summary = result.summaries["supervised", 0.05, "none"]
    for metric in ("wacc", "cer", "wer"):
        values = [score(value, "word")[metric] for value in items.values()]
        assert summary.rates[metric].mean == pytest.approx(statistics.fmean(values))
        assert summary.rates[metric].deviation == pytest.approx(statistics.stdev(values))
        assert summary.rates[metric].comparison is None
    assert (summary.seeds, summary.unit, summary.units) == ((0, 1, 2), "page", 12)


def test_one_seed_has_no_deviation_and_the_interval_of_its_result(tmp_path):
    items = predictions(0.5, 0)
    rate = (
        collected(tmp_path, {("supervised", 0.05, 0): items}, seeds=[0])
        .summaries["supervised", 0.05, "none"]
        .rates["cer"]
    )
    assert rate.deviation is None
    assert list(rate.interval) == score(items, "word")["cer_ci"]


def test_interval_resamples_pages_with_the_counts_of_all_seeds(tmp_path):
    items = predictions(0.5, 0)
    same = collected(tmp_path, {("supervised", 0.05, seed): items for seed in range(3)})
    # Three times the same readings are no more certain than once.
    assert same.summaries["supervised", 0.05, "none"].rates["wacc"].interval == tuple(score(items, "word")["wacc_ci"])


def test_comparison_is_paired_on_the_seeds_both_have(tmp_path):
    base = {seed: predictions(0.4, seed) for seed in (0, 1)}
    other = {seed: predictions(0.6, 10 + seed) for seed in (0, 1, 2)}
    cells = {("supervised", 0.05, seed): value for seed, value in base.items()}
    cells |= {("masked", 0.05, seed): value for seed, value in other.items()}
    rate = collected(tmp_path, cells).summaries["masked", 0.05, "none"].rates["wacc"]
    first, second = (
        np.concatenate(
            [metrics.count([i.written for i in items[s]], [i.read for i in items[s]], "word") for s in (0, 1)]
        )
        for items in (base, other)
    )
    expected = metrics.compare(first, second, [i.page for i in base[0]] * 2, "wacc", runs=[0] * 120 + [1] * 120)
    assert rate.comparison == expected
    assert rate.significant
    assert rate.comparison.difference > 0


def test_best_are_the_best_mean_and_all_that_is_not_separable_from_it(tmp_path):
    rows = {"supervised": [], "near": METHOD, "far": METHOD * 2}
    cells = {}
    for fraction, far in ((0.1, 0.5), (1.0, 0.9)):
        cells[("supervised", fraction, 0)] = predictions(0.5, 1)
        cells[("near", fraction, 0)] = predictions(0.5, 2)
        cells[("far", fraction, 0)] = predictions(far, 3)
    result = collected(tmp_path, cells, [0], rows, [0.1, 1.0])
    assert result.baseline == "supervised"
    for metric in ("wacc", "cer", "wer"):
        assert result.best(0.1, metric) == set(rows)
        assert result.best(1.0, metric) == {"far"}


def test_a_row_that_equals_the_best_is_as_bold(tmp_path):
    rows = {"supervised": [], "a": METHOD, "b": METHOD * 2}
    cells = {("supervised", 0.1, 0): predictions(0.3, 1), ("a", 0.1, 0): predictions(0.9, 2)}
    result = collected(tmp_path / "one", cells | {("b", 0.1, 0): predictions(0.88, 3)}, [0], rows, [0.1])
    assert result.best(0.1, "wacc") == {"a", "b"}
    assert render.markdown(result).count("**") == 2 * 2 * 3
    result = collected(tmp_path / "two", cells | {("b", 0.1, 0): predictions(0.6, 3)}, [0], rows, [0.1])
    assert result.best(0.1, "wacc") == {"a"}


def test_without_a_supervised_row_only_the_best_are_told_apart(tmp_path):
    cells = {("a", 0.1, 0): predictions(0.9, 1), ("b", 0.1, 0): predictions(0.1, 2)}
    result = collected(tmp_path, cells, [0], {"a": METHOD, "b": METHOD * 2}, [0.1])
    assert result.baseline is None
    assert result.best(0.1, "wacc") == {"a"}
    assert all(rate.comparison is None for summary in result.summaries.values() for rate in summary.rates.values())


def test_p_values_are_corrected_for_the_rows_of_a_column(tmp_path):
    readings = {"supervised": (0.5, 7), "a": (0.6, 11), "b": (0.65, 10), "c": (0.55, 9), "d": (0.9, 8)}
    rows = {name: METHOD * place for place, name in enumerate(readings)}
    cells = {(row, 0.1, 0): predictions(*given) for row, given in readings.items()}
    result = collected(tmp_path, cells, [0], rows, [0.1])
    rates = [result.summary(row, 0.1).rates["cer"] for row in rows if row != "supervised"]
    assert [rate.corrected for rate in rates] == metrics.holm([rate.comparison.p for rate in rates])
    assert any(rate.comparison.p < 0.05 <= rate.corrected for rate in rates), "the correction changes nothing"
    assert all(rate.significant == (rate.corrected < 0.05) for rate in rates)


def test_all_pairs_of_a_column(tmp_path):
    rows = {"supervised": [], "a": METHOD, "b": METHOD * 2}
    cells = {(row, 0.1, 0): predictions(0.3 + 0.2 * place, place) for place, row in enumerate(rows)}
    result = collected(tmp_path, cells, [0], rows, [0.1])
    pairs = result.pairs(0.1, "cer")
    assert [pair[:2] for pair in pairs] == [("supervised", "a"), ("supervised", "b"), ("a", "b")]
    assert pairs[0].comparison == result.summary("a", 0.1).rates["cer"].comparison
    assert [pair.corrected for pair in pairs] == metrics.holm([pair.comparison.p for pair in pairs])


def test_the_unit_is_the_coarsest_that_all_cells_know(tmp_path):
    base, other = (
        [item._replace(writer=f"w{int(item.page[1:]) // 2}") for item in predictions(s, 1)] for s in (0.4, 0.6)
    )
    cells = {("supervised", 0.05, 0): base, ("masked", 0.05, 0): other}
    result = collected(tmp_path / "one", cells, [0])
    assert {(s.unit, s.units) for s in result.summaries.values()} == {("writer", 6)}
    cells[("masked", 0.05, 0)] = [item._replace(writer="") for item in other]
    result = collected(tmp_path / "two", cells, [0])
    assert {(s.unit, s.units) for s in result.summaries.values()} == {("page", 12)}
    result = collected(tmp_path / "three", cells, [0], interval_unit="sample")
    assert {(s.unit, s.units) for s in result.summaries.values()} == {("sample", 120)}


def test_several_seeds_widen_the_interval(tmp_path):
    """Both sources of variance: other units, other trainings."""
    cells = {("supervised", 0.05, seed): predictions(0.3 + 0.2 * seed, 5) for seed in range(3)}
    rate = collected(tmp_path / "three", cells).summaries["supervised", 0.05, "none"].rates["wacc"]
    alone = collected(tmp_path / "one", {k: v for k, v in cells.items() if k[2] == 1}, [1]).summaries
    single = alone["supervised", 0.05, "none"].rates["wacc"].interval
    assert rate.interval[1] - rate.interval[0] > 1.5 * (single[1] - single[0])
    base = {("supervised", 0.05, seed): predictions(0.3, 5) for seed in range(3)}
    both = base | {("masked", 0.05, seed): items for (_, _, seed), items in cells.items()}
    found = collected(tmp_path / "both", both).summaries["masked", 0.05, "none"].rates["wacc"].comparison
    assert found.interval[0] < 0.05, "with other seeds the difference could be nearly that of seed 0"


def test_samples_only_one_of_them_read_are_left_out_of_the_comparison(tmp_path):
    cells = {("supervised", 0.05, 0): predictions(0.4, 1)[5:], ("masked", 0.05, 0): predictions(0.6, 2)[:-7]}
    result = collected(tmp_path, cells, [0])
    rates = result.summaries["masked", 0.05, "none"].rates
    right = [sum(i.read == i.written for i in predictions(share, seed)[5:-7]) for share, seed in ((0.4, 1), (0.6, 2))]
    assert rates["wacc"].comparison.difference == pytest.approx((right[1] - right[0]) / (120 - 12))


def test_samples_without_a_writer_are_counted_and_said(tmp_path):
    items = [item._replace(writer=f"w{number % 8}") for number, item in enumerate(predictions(0.5, 0))]
    items[0] = items[0]._replace(writer="")
    found = collected(tmp_path, {("supervised", 0.05, 0): items}, seeds=[0])
    summary = found.summaries["supervised", 0.05, "none"]
    assert (summary.unit, summary.units) == ("writer", 9)
    assert f"Writers are known for {len(items) - 1} of {len(items)} samples" in render.markdown(found)
