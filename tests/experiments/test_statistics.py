import statistics

import pytest
from handmade import predictions, put_result

from htr_ssl import metrics
from htr_ssl.config import TableConfig
from htr_ssl.config_files import dump_config
from htr_ssl.experiments import table
from htr_ssl.experiments.evaluate import score
from htr_ssl.files import write_text

METHOD = [{"method": {"name": "masked_image"}}]


def collected(out, cells, seeds=(0, 1, 2), rows=None, fractions=(0.05,)):
    """Table of given readings, {(row, fraction, seed): predictions}."""
    value = {"rows": rows or {"supervised": [], "masked": METHOD}, "fractions": fractions, "seeds": list(seeds)}
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
        sum(metrics.count([i.written for i in items[s]], [i.read for i in items[s]], "word") for s in (0, 1))
        for items in (base, other)
    )
    expected = metrics.compare(first, second, [item.page for item in base[0]], "wacc")
    assert rate.comparison == expected
    assert rate.significant
    assert rate.comparison.difference > 0


def test_the_best_row_is_named_only_if_its_difference_is_significant(tmp_path):
    rows = {"supervised": [], "near": METHOD, "far": METHOD * 2}
    cells = {}
    for fraction, far in ((0.1, 0.5), (1.0, 0.9)):
        cells[("supervised", fraction, 0)] = predictions(0.5, 1)
        cells[("near", fraction, 0)] = predictions(0.5, 2)
        cells[("far", fraction, 0)] = predictions(far, 3)
    result = collected(tmp_path, cells, [0], rows, [0.1, 1.0])
    assert result.baseline == "supervised"
    for metric in ("wacc", "cer", "wer"):
        assert result.best(0.1, metric) is None
        assert result.best(1.0, metric) == "far"


def test_the_supervised_row_is_best_only_if_all_others_are_worse(tmp_path):
    rows = {"supervised": [], "a": METHOD, "b": METHOD * 2}
    cells = {("supervised", 0.1, 0): predictions(0.9, 1), ("a", 0.1, 0): predictions(0.3, 2)}
    result = collected(tmp_path / "one", cells | {("b", 0.1, 0): predictions(0.4, 3)}, [0], rows, [0.1])
    assert result.best(0.1, "wacc") == "supervised"
    result = collected(tmp_path / "two", cells | {("b", 0.1, 0): predictions(0.89, 1)}, [0], rows, [0.1])
    assert result.best(0.1, "wacc") is None


def test_without_a_supervised_row_nothing_is_compared(tmp_path):
    cells = {("a", 0.1, 0): predictions(0.9, 1), ("b", 0.1, 0): predictions(0.1, 2)}
    result = collected(tmp_path, cells, [0], {"a": METHOD, "b": METHOD * 2}, [0.1])
    assert result.baseline is None
    assert result.best(0.1, "wacc") is None
    assert all(rate.comparison is None for summary in result.summaries.values() for rate in summary.rates.values())


def test_samples_only_one_of_them_read_are_left_out_of_the_comparison(tmp_path):
    cells = {("supervised", 0.05, 0): predictions(0.4, 1)[5:], ("masked", 0.05, 0): predictions(0.6, 2)[:-7]}
    result = collected(tmp_path, cells, [0])
    rates = result.summaries["masked", 0.05, "none"].rates
    right = [sum(i.read == i.written for i in predictions(share, seed)[5:-7]) for share, seed in ((0.4, 1), (0.6, 2))]
    assert rates["wacc"].comparison.difference == pytest.approx((right[1] - right[0]) / (120 - 12))
