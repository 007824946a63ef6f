"""What may be chosen: the learning rate of fine-tuning beside bits and defences, and where a search begins."""

from dataclasses import replace

import pytest
from optuna.trial import FixedTrial

from edgepriv.recipe import Recipe
from edgepriv.training.quantizers import refuse_unfit
from edgepriv.tuning.budgets import Budgets, Leakage
from edgepriv.tuning.plan import MOVED, Plan, Setting
from edgepriv.tuning.space import GRANULARITIES, QUANTIZERS, RATES, first_points, suggested, uniform

SETTING = Setting(trains=True, images=True, epochs=20, holdout=0.5, most_bits=None, steps=7, lr=2e-4)
LEAKAGE = Budgets(leakage=Leakage(0.01, 0.001))
POINT = {"mean_bits": 4.0, "spread": "even", "quantizer": "lsq", "granularity": "channel"}
WIDTHS = [2, 3, 4, 6, 8]
LOST = dict(zip(map(str, WIDTHS), (0.9, 0.5, 0.1, 0.01, 0.0), strict=True))
ROWS = [
    {"name": name, "parameters": parameters, "divergence": LOST}
    for name, parameters in (("a", 4_000), ("b", 3_000), ("c", 2_000), ("d", 1_000))
]
TABLE = {"widths": WIDTHS, "rows": ROWS, "skipped": []}


@pytest.mark.parametrize("rate", RATES)
def test_the_rate_is_a_multiple_of_the_recipes(rate: float) -> None:
    plan = suggested(FixedTrial(POINT | {"rate": rate}), TABLE, Budgets(drop=1.0), SETTING)
    asked = plan.changes(4)["qat"]
    assert asked == ({"epochs": 4} if rate == 1 else {"epochs": 4, "lr": {3: 0.0006, 10: 0.002}[rate]})
    assert ("learning rate" in plan.title(4)) == (rate != 1)


def test_another_rate_is_another_candidate() -> None:
    plans = [suggested(FixedTrial(POINT | {"rate": rate}), TABLE, Budgets(drop=1.0), SETTING) for rate in RATES]
    assert len({plan.named(4) for plan in plans}) == len(RATES)


def test_a_model_that_is_only_rounded_has_no_rate() -> None:
    plan = suggested(FixedTrial(POINT), TABLE, Budgets(drop=1.0), replace(SETTING, trains=False))
    assert plan.lr is None
    assert plan.changes(0)["qat"] == {"epochs": 0}


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_no_point_that_can_be_drawn_is_refused(quantizer: str, granularity: str) -> None:
    point = POINT | {"quantizer": quantizer, "granularity": granularity, "rate": 1.0}
    plan = suggested(FixedTrial(point), TABLE, Budgets(drop=1.0), SETTING)
    refuse_unfit(Recipe(**{"quantize": plan.changes(4)["quantize"]}).quantize)
    assert (plan.granularity == granularity) == ((quantizer, granularity) != ("lsq", "block:64"))


def test_a_search_begins_with_points_that_can_be_drawn() -> None:
    for budgets in (Budgets(drop=1.0), LEAKAGE):
        points = first_points(budgets, SETTING)
        plans = [suggested(FixedTrial(point), TABLE, budgets, SETTING) for point in points]
        assert len({plan.named(12) for plan in plans}) == len(points)


def test_moved_copies_are_learnt_anew_from_the_start() -> None:
    points = first_points(LEAKAGE, SETTING)
    assert [point["defence"] for point in points[:1]] == ["none"]
    assert {point["defence"] for point in points} == set(SETTING.defences())
    assert next(point["rate"] for point in points if point["defence"] == MOVED) == RATES[-1]


def test_no_start_is_larger_than_the_budget_of_size_leaves() -> None:
    points = first_points(LEAKAGE, replace(SETTING, most_bits=2.3))
    assert {point["mean_bits"] for point in points} == {2.25, 2.125, 2.0}


def test_a_title_counts_layers_where_they_are_many() -> None:
    few = ",".join(f"fc{n}={2 + n % 2}" for n in range(4))
    assert Plan(few, "lsq", "channel").title(1) == f"{few} lsq channel, 1 epoch"
    many = ",".join(f"blocks.{n}.conv1={2 + n % 3}" for n in range(20))
    assert Plan(many, "lsq", "channel").title(4) == (
        "2 bits in 7 layers, 3 bits in 7 layers, 4 bits in 6 layers lsq channel, 4 epochs"
    )


ROBUST = Budgets(robust=0.4)


def drawn(budgets: Budgets, setting: Setting) -> list[Plan]:
    points = [POINT | {"rate": 1.0, "robust_epochs": 6, "defence": "none"}, *first_points(budgets, setting)]
    return [uniform(budgets, setting), *(suggested(FixedTrial(each), TABLE, budgets, setting) for each in points)]


def test_the_adversary_of_a_model_that_was_trained_against_one_stays() -> None:
    attacked = replace(SETTING, attacked=True)
    assert all("adversary" not in plan.changes(4) for plan in drawn(Budgets(drop=1.0), attacked))
    assert all(plan.changes(4)["adversary"] == {"method": "none"} for plan in drawn(Budgets(drop=1.0), SETTING))
    assert all(plan.changes(4)["robust"]["epochs"] > 0 for plan in drawn(ROBUST, attacked))
    assert all(plan.changes(4)["adversary"] == {"method": "pgd"} for plan in drawn(ROBUST, SETTING))


def test_a_model_that_is_only_rounded_is_not_trained_against_an_adversary() -> None:
    assert all(plan.robust_epochs == 0 for plan in drawn(ROBUST, replace(SETTING, trains=False)))


def test_defences_that_do_not_go_with_the_training_are_not_drawn() -> None:
    setting = replace(SETTING, unfit=frozenset({"HAMP 0.3", "HAMP 0.6"}))
    assert not {"HAMP 0.3", "HAMP 0.6"} & {plan.defence for plan in drawn(LEAKAGE, setting)}
    assert "HAMP 0.3" in {plan.defence for plan in drawn(LEAKAGE, SETTING)}


def test_filters_that_nobody_trains_have_few_bits_too() -> None:
    point = POINT | {"rate": 1.0, "mean_bits": 2.5, "spread": "by sensitivity"}
    plans = [
        suggested(FixedTrial(point), TABLE, Budgets(drop=1.0), replace(SETTING, fixed=fixed)).bits
        for fixed in (False, True)
    ]
    assert "*=" not in plans[0]
    assert plans[1] == f"{plans[0]},*=4"
