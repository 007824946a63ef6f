import pytest

from edgepriv.errors import UserError
from edgepriv.tuning.budgets import Leakage, Size, budgets_of, judged, refuse_too_small, refuse_unresolvable


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0.15x", Size(0.15, True)),
        (".15X", Size(0.15, True)),
        ("60KB", Size(60_000, False)),
        ("60kB", Size(60_000, False)),
        ("60KiB", Size(61_440, False)),
        ("1.5MB", Size(1_500_000, False)),
        ("61440B", Size(61_440, False)),
    ],
)
def test_a_size_is_a_share_or_bytes(written, read):
    assert budgets_of(written, None, None, None).size == read


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ((None, None, None, None), "nothing to tune for"),
        (("5", None, None, None), "a share of the float file such as 0.15x, or bytes such as 60kB"),
        (("0x", None, None, None), "above 0x and below 1x"),
        (("1.5x", None, None, None), "above 0x and below 1x"),
        (("-0.1x", None, None, None), "such as 0.15x"),
        (("0kB", None, None, None), "a size above 0"),
        (("1e400B", None, None, None), "a size above 0"),
        (("12 potatoes", None, None, None), "such as 0.15x"),
        ((None, 0.0, None, None), "above 0 and at most 100"),
        ((None, -1.0, None, None), "above 0 and at most 100"),
        ((None, float("nan"), None, None), "above 0 and at most 100"),
        ((None, None, "0.01", None), "a true-positive rate at a false-positive rate"),
        ((None, None, "1%@0.1%", None), "such as 0.01@0.001"),
        ((None, None, "0@0.001", None), "such as 0.01@0.001"),
        ((None, None, "0.01@2", None), "such as 0.01@0.001"),
        ((None, None, "0.0005@0.001", None), "guessing finds 0.001 of the members"),
        ((None, None, None, 1.2), "above 0 and below 1"),
        ((None, None, None, 45.0), "45% is 0.45"),
        ((None, None, None, 0.0), "above 0 and below 1"),
    ],
)
def test_what_no_file_or_every_file_keeps_is_refused(asked, sentence):
    with pytest.raises(UserError) as refused:
        budgets_of(*asked)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_rate_that_so_few_cannot_resolve_is_refused():
    asked = budgets_of(None, None, "0.01@0.001", None)
    assert asked.leakage == Leakage(0.01, 0.001)
    refuse_unresolvable(asked, {"choosing": 1000, "telling": 1000})
    with pytest.raises(UserError, match=r"999 non-members resolve no .* below 1/999: .* @0.002 or more"):
        refuse_unresolvable(asked, {"choosing": 1000, "telling": 999})


@pytest.mark.parametrize("asked", [(None, "1%", None, None), (None, None, None, "0.4")])
def test_text_is_no_number(asked):
    with pytest.raises(UserError, match="expected a number"):
        budgets_of(*asked)


def test_a_size_below_the_numbers_themselves_is_refused():
    refuse_too_small(budgets_of("0.0625x", None, None, None), 1000, 16_000)
    with pytest.raises(UserError, match="no file is smaller"):
        refuse_too_small(budgets_of("900B", None, None, None), 1000, 16_000)


def test_a_figure_is_judged_with_as_much_margin_as_asked():
    asked = budgets_of("0.2x", 1.0, "0.01@0.001", 0.5)
    figures = {
        "size_bytes": 150,
        "float_bytes": 1000,
        "drop": {"value": 0.8, "ci": (0.4, 1.2)},
        "tpr": {"value": 0.02, "ci": (0.01, 0.03)},
        "robust": {"value": 0.45, "ci": (0.4, 0.5)},
    }
    plain = {row.budget: row for row in judged(asked, figures)}
    assert {name: row.met for name, row in plain.items()} == {"size": True, "drop": True, "tpr": False, "robust": False}
    assert plain["tpr"].excess == pytest.approx(1)  # twice the limit
    assert plain["robust"].excess == pytest.approx(0.1)
    careful = {row.budget: row.met for row in judged(asked, figures, margin=1.0)}
    assert not careful["drop"]  # 0.8 and its standard error of 0.2 reach 1.0
    assert {row.budget: row.met for row in judged(asked, figures, margin=1.0, slack=2.0)}["drop"]


def test_the_goal_is_what_has_no_budget():
    assert budgets_of(None, 1.0, None, None).goal == "size"
    assert budgets_of("0.1x", 1.0, None, None).goal == "accuracy"
