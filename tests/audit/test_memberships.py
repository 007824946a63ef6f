"""Which records reference models are trained on: as many as the target, blind to its members, balanced."""

import numpy as np
import pytest

from edgepriv.audit import brought, references
from edgepriv.audit.memberships import plan
from edgepriv.data import Split
from edgepriv.errors import UserError


def split(members, non_members, pool=0):
    bounds = np.cumsum([members, non_members, pool])
    parts = np.split(np.arange(bounds[-1]), bounds[:-1])
    return Split(0, *parts, np.empty(0, np.int64), np.empty(0, np.int64))


def test_few_members_make_few_records_for_the_reference_models_too():
    member = np.stack(plan(split(100, 1600), seed=0).memberships(40))
    assert (member.sum(axis=1) == 100).all()
    assert np.ptp(member.sum(axis=0)) <= 1  # 40 models of 100 of 1,700 candidates: two or three each


@pytest.mark.parametrize(("members", "non_members"), [(7, 30), (30, 60), (13, 14), (100, 101), (5, 5)])
def test_after_any_number_of_models_all_candidates_are_in_equally_many_up_to_one(members, non_members):
    member = np.stack(plan(split(members, non_members), seed=1).memberships(30))
    for count in range(1, 31):
        assert np.ptp(member[:count].sum(axis=0)) <= 1


def test_half_of_the_candidates_make_pairs_of_complementary_halves():
    member = plan(split(50, 50), seed=0).memberships(6)
    assert (member[0] != member[2]).any()
    for pair in range(3):
        np.testing.assert_array_equal(member[2 * pair], ~member[2 * pair + 1])


def test_more_models_keep_the_first_ones():
    planned = plan(split(30, 100), seed=0)
    np.testing.assert_array_equal(planned.memberships(9)[:4], planned.memberships(4))


def test_who_the_targets_members_are_changes_nothing():
    """170 models of 100 of the 1,700 candidates take each of them ten times, members and non-members alike."""
    member = np.stack(plan(split(100, 1600), seed=3).memberships(170))
    assert member[:, :100].mean() == pytest.approx(member[:, 100:].mean(), abs=1e-9)


def test_a_target_of_most_candidates_is_matched_from_the_attackers_pool():
    given = split(800, 400, pool=1000)
    planned = plan(given, seed=0)
    assert (planned.inside, planned.filler, planned.records) == (600, 200, 800)
    member = planned.memberships(4)
    sets = [planned.training_set(r, each) for r, each in enumerate(member)]
    for r, records in enumerate(sets):
        assert len(np.unique(records)) == len(records) == 800
        np.testing.assert_array_equal(np.intersect1d(records, planned.candidates), np.flatnonzero(member[r]))
        # The population is what no reference model was trained on.
        assert not len(np.intersect1d(records, planned.population))
    assert len(planned.population) == 600
    assert set(sets[0]) & set(given.reference) != set(sets[1]) & set(given.reference)


def test_with_a_small_pool_more_candidates_are_in_but_each_is_out_of_a_third_of_the_models():
    planned = plan(split(1000, 200, pool=100), seed=0)
    assert (planned.inside, planned.filler) == (800, 50)
    out = 12 - np.stack(planned.memberships(12)).sum(axis=0)
    assert out.min() >= 3
    assert len(planned.population) == 50


def test_the_digest_tells_one_plan_from_another():
    digests = {plan(split(m, n, pool), seed).digest() for m, n, pool, seed in
               ((50, 50, 0, 0), (50, 50, 0, 1), (40, 60, 0, 0), (60, 40, 0, 0), (60, 40, 40, 0))}  # fmt: skip
    assert len(digests) == 5
    assert plan(split(50, 50), 0).digest() == plan(split(50, 50), 0).digest()


@pytest.mark.parametrize(("members", "others", "pool"), [(120, 120, 90), (60, 240, 0), (240, 120, 300), (300, 60, 40)])
def test_nobody_is_half_in_a_reference_model(members, others, pool):
    sides = [np.sort(np.random.default_rng(n).integers(0, n // 4 or 1, n)) for n in (members, others, pool)]
    groups = np.concatenate([1000 * place + side for place, side in enumerate(sides)])
    most = np.bincount(groups).max()
    planned = plan(split(members, others, pool), seed=2, groups=groups)
    chosen = planned.memberships(30)
    for r, member in enumerate(chosen):
        trained_on = planned.training_set(r, member)
        own = groups[planned.candidates]
        assert not np.intersect1d(own[member], own[~member]).size
        assert not np.intersect1d(groups[trained_on], groups[planned.population]).size
        assert abs(len(trained_on) - planned.records) <= most
    times = np.stack(chosen).sum(axis=0)
    assert np.ptp(times) <= 30 * 0.2  # about equally often, whoever they are
    np.testing.assert_array_equal(np.stack(planned.memberships(5)), np.stack(chosen[:5]))


def test_groups_of_one_record_change_nothing():
    for members, others, pool in ((50, 50, 0), (30, 100, 20), (80, 40, 60)):
        given = split(members, others, pool)
        alone, named = plan(given, seed=3), plan(given, seed=3, groups=np.arange(200))
        assert alone.digest() == named.digest()


def test_the_shadow_model_shares_nobody_with_its_non_members():
    groups = np.arange(300) // 7
    given = split(60, 40, pool=200)
    inside, outside = references._shadow_halves(given, 0, groups)
    assert not np.intersect1d(groups[inside], groups[outside]).size
    assert abs(len(inside) - 60) <= 3
    assert set(inside) | set(outside) <= set(given.reference)


def test_reference_models_of_another_size_than_the_target_are_said():
    assert brought.of_another_size(950, 1000) == []
    (sentence,) = brought.of_another_size(8500, 10_000)
    assert "each reference model was trained on 8,500 records, the target on 10,000" in sentence


def hospitals(sizes, members):
    """A split and groups: hospital i has ``sizes[i]`` records, and those named are the target's members."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    inside = np.isin(groups, members)
    empty = np.empty(0, np.int64)
    return Split(0, np.flatnonzero(inside), np.flatnonzero(~inside), empty, empty, empty), groups


def test_one_giant_group_is_refused_and_leaves_no_model_without_records():
    given, groups = hospitals([400, 120, 90, 60, 50, 40, 30, 10], members=[2, 4])
    planned = plan(given, seed=0, groups=groups)
    with pytest.raises(UserError, match=r"largest group holds 400 records, more than the 140 .* \(1 of 8 groups do\)"):
        planned.refuse_too_large()
    for member in planned.memberships(16):
        assert 70 <= member.sum() <= 210
        assert not member[groups[planned.candidates] == 0].any()
    one, groups = hospitals([40], members=[0])
    with pytest.raises(UserError, match="records of 1 group"):
        plan(one, seed=0, groups=groups).refuse_too_large()


@pytest.mark.parametrize(
    ("sizes", "members"),
    [([120, 120, 90, 60, 50, 40, 30, 10], [1, 5]), ([50, 50], [0]), ([30, 20, 10], [0]), ([9, 1, 1, 1, 1, 5], [0])],
)
def test_however_unequal_persons_are_every_model_has_some_in_and_some_out(sizes, members):
    given, groups = hospitals(sizes, members)
    planned = plan(given, seed=1, groups=groups)
    planned.refuse_too_large()
    chosen = np.stack(planned.memberships(24))
    assert chosen.any(axis=1).all()
    assert not chosen.all(axis=1).any()
    assert chosen.any(axis=0).all()  # each person is known to some model,
    assert not chosen.all(axis=0).any()  # and unknown to another
    sizes_trained = [len(planned.training_set(r, member)) for r, member in enumerate(chosen)]
    assert planned.mean_records(24) == round(np.mean(sizes_trained))
