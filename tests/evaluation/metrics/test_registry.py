"""Declarations of metrics: a new metric is declared in one place and appears in all outputs."""

import json

import pandas as pd
import pytest
import torch
from rich.console import Console

from ntire_sr.core.errors import UsageError
from ntire_sr.evaluation.metrics import registry
from ntire_sr.evaluation.metrics.base import ImageMetric
from ntire_sr.evaluation.metrics.declarations import Figure, NonNegative, Output, Values, mean
from ntire_sr.evaluation.pages.terminal import print_score
from ntire_sr.evaluation.score_folder import score_folder
from ntire_sr.evaluation.scoring.comparison import compare
from ntire_sr.evaluation.scoring.load_scores import read_methods


class ToyValues(Values):
    toy: list[NonNegative]


class Toy(ImageMetric[ToyValues]):
    """Mean level of green."""

    values = ToyValues
    figures = (
        Figure(
            name="toy_mean",
            label="Toy of {samples} samples",
            unit="levels",
            direction="higher",
            digits=1,
            values=ToyValues,
            compute_image=lambda values: mean(values.toy),
            outputs=~Output(0),
        ),
    )

    def __init__(self, reference):
        self.levels = []

    def update(self, sample):
        self.levels.append(sample.sr[:, 1].float().mean().item())

    def compute(self):
        return ToyValues(toy=self.levels)


@pytest.fixture
def with_toy(monkeypatch) -> None:
    monkeypatch.setattr(registry, "METRICS", (*registry.METRICS, Toy))


def test_new_metric_is_in_table_json_csv_page_and_compare(with_toy, folders, tmp_path, capsys):
    for name in ("a", "b"):
        scored = score_folder(
            folders.hr, folders.sr, tmp_path / name, samples=3, device="cpu", without_lpips="not needed"
        )
    score = scored.score
    expected = [mean(image.of(ToyValues).toy) for image in score.images]
    assert len(expected) == 2 and all(value > 0 for value in expected)

    print_score(score, Console(width=200))
    assert "Toy of 3 samples" in (table := capsys.readouterr().out)
    assert f"{mean(expected):.1f}" in table and "levels, higher is better" in table

    content = json.loads((tmp_path / "a" / "score.json").read_text())
    assert content["summary"]["toy_mean"] == pytest.approx(mean(expected))
    assert [image["toy_mean"] for image in content["images"]] == pytest.approx(expected)

    csv = pd.read_csv(tmp_path / "a" / "measure.csv", index_col=0)
    assert list(csv.columns) == ["LPIPS_mean", "LRPSNR_worst", "LRPSNR_mean", "score", "toy_mean"]
    assert csv.toy_mean.tolist() == pytest.approx(expected)
    means = pd.read_csv(tmp_path / "a" / "measure_mean.csv", index_col=0)["0"]
    assert means["toy_mean"] == pytest.approx(mean(expected))

    assert "Toy of 3 samples" in (tmp_path / "a" / "report.html").read_text(encoding="utf-8")

    comparison = compare(read_methods([("a", tmp_path / "a"), ("b", tmp_path / "b")]))
    assert comparison.figures[-1].label == "Toy of 3 samples"
    assert [value.value for value in comparison.values["toy_mean"]] == pytest.approx([mean(expected)] * 2)
    assert comparison.as_json()["figures"]["toy_mean"]["direction"] == "higher"


def test_records_without_a_new_metric_are_measured_again(folders, tmp_path, monkeypatch):
    def score():
        return score_folder(
            folders.hr, folders.sr, tmp_path, samples=3, device="cpu", without_lpips="-", with_report=False
        )

    score()
    monkeypatch.setattr(registry, "METRICS", (*registry.METRICS, Toy))
    assert score().kept == 0
    assert score().kept == 2


def test_figures_have_unique_names_and_complete_declarations():
    names = [metric.name for metric in registry.QUALITY_METRICS]
    figures = registry.figures(names)
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.label and figure.digits >= 0, figure.name
        assert figure.per_image or figure.compute_images or figure.data_set, figure.name
        assert figure.direction in ("lower", "higher", None) or isinstance(figure.direction, float)


def test_figures_of_instead_of_name_a_figure():
    figures = registry.figures()
    assert {figure.instead_of for figure in figures} - {""} <= {figure.name for figure in figures}


def test_each_quality_metric_measures_images_or_a_data_set():
    for metric in registry.QUALITY_METRICS:
        assert (metric.load is None) != (metric.data_set is None), metric.name


@pytest.mark.parametrize("name", ["niqe", "log-spectral"])
def test_quality_metric_measures_a_photograph(name, photograph):
    image = torch.from_numpy(photograph).permute(2, 0, 1)[None]
    loaded = registry.quality_metric(name).load(torch.device("cpu"), None)
    assert loaded.measure(image, loaded.prepare(image)) >= 0


def test_unknown_quality_metric_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match=r"unknown quality metric 'iqa:ssmi'(.|\n)*try: iqa:ssim"):
        registry.quality_metric("iqa:ssmi")


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("lower", "dB, lower is better"),
        ("higher", "dB, higher is better"),
        (1.0, "dB, 1 is best"),
        (None, "dB"),
    ],
)
def test_description_states_unit_and_direction(direction, expected):
    figure = Figure(name="x", label="x", unit="dB", direction=direction, digits=1, values=Values)
    assert figure.description == expected
