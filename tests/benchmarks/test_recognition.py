"""The protocol of recognition: its classes, its intervals, and a run of it on a small network."""

import torch

from tests.benchmarks.recognition import SPENT, TEST, TUNING, classes, interval


def test_settings_are_chosen_on_other_classes_than_they_are_judged_on() -> None:
    tuning, test = classes("tuning"), classes("test")
    assert len(set(tuning)) == TUNING and len(set(test)) == TEST
    assert not set(tuning) & set(test)
    assert not SPENT & {*tuning, *test}
    assert classes("test") == test


def test_an_interval_covers_the_mean_and_keeps_the_seeds_of_a_class_together() -> None:
    one = torch.tensor([[1.0, 0.0] * 15])
    low, high = interval(one)
    assert low < 0.5 < high and 0.25 < high - low < 0.45
    assert interval(torch.cat([one, one])) == (low, high)  # a second seed that agrees adds nothing
    assert interval(torch.zeros(2, 8)) == (0.0, 0.0)
