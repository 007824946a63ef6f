"""Several releases of one model, combined by a likelihood ratio.

Whoever holds two releases asks both about a record. Releases of one training (float and 4 bits, or two hardened from one
checkpoint) make the same mistakes: their scores hardly differ, and what one of them tells must not count twice. Reference
models were brought through the chains of both, so their scores come in pairs; LiRA then fits one Gaussian of all scores
together around the mean of IN and of OUT models, with a covariance in place of a variance. It is shrunk as the variance of
``lira`` is, towards that of all candidates, which counts for ``STRENGTH`` degrees of freedom: a new vector of scores follows
the multivariate Student's t. Of one release it is that attack to the letter.

Scores of releases that are nearly one and the same have a nearly singular covariance. Directions in which the reference models
do not differ at all, by less than 1e-4 of their spread, hold rounding alone and are left out; what remains is scaled to a
covariance of one over all candidates, so that small differences between releases, which can tell as much as large ones, do
not drown. A release that is the audited file itself then adds nothing.

Releases of separate trainings on the same members are independent given whether the record was one of them: their
log-likelihood ratios are summed.

Offline there are no IN models, and no direction is known in which members lie. They are taken to lie as many standard
deviations above the OUT models in each release: the mean of these deviations, over its own standard deviation, by training,
and over trainings their sum. RMIA has no density of which a joint one could be made: the logarithms of its ratios are averaged
over the releases of a training, so that one training does not count twice, and summed over trainings.

How much all of that finds hangs on how many reference models there are. A direction in which members hardly differ from others
costs power, since its means are those of few models: with 16 of them on Location-30 the joint Gaussian of a 4-bit file and its
float twin found fewer members than LiRA on the twin alone. So the way is chosen by attacking reference models, whose members
are known (``choose_way``): ``joint`` as above, ``mean`` of the ratios of each release within a training, or one release alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from edgepriv.audit.answers import Floats
from edgepriv.audit.attacks.base import Unavailable
from edgepriv.audit.attacks.lira import MINIMUM, OWN_IN_MODELS, lira_offline, lira_online
from edgepriv.audit.attacks.moments import Moments, all_alike, fixed, log_density, moments, shrunk, times, uncorrelated
from edgepriv.audit.attacks.trials import measure, tried_in_turn
from edgepriv.audit.evidence import Evidence
from edgepriv.audit.trained_answers import References

Covariance = Literal["shrunk", "per-example"]

JOINT, MEAN, ALONE = "joint", "mean", "release {} alone"
"""Ways to combine releases; ``ALONE`` is that of the audited file for 1."""


def lira_online_of_all(evidence: Evidence, covariance: Covariance = "shrunk", way: str = JOINT) -> Floats:
    """LiRA online on all releases together: log-likelihood ratio of IN against OUT models at the scores of all.

    Args:
        evidence: with reference models, and with releases.
        covariance: "shrunk", or "per-example" for each candidate's own covariance and a Gaussian.
        way: of ``ways_of``.

    Returns:
        float64 [n], in nats; higher for members.

    Raises:
        Unavailable: without releases, and as ``lira_online``.
    """
    if (release := _alone(evidence, way)) is not None:
        return lira_online(release, covariance)
    run = _joint_online if way == JOINT else _mean_online
    scores: Floats = np.sum([run(group, covariance) for group in by_training(evidence)], axis=0)
    return scores


def lira_offline_of_all(evidence: Evidence, way: str = JOINT) -> Floats:
    """LiRA offline on all releases together: how far the scores lie above those of the OUT models.

    Args:
        evidence: with reference models, and with releases.
        way: of ``ways_of``; the mean is the joint one up to a factor, so it is not asked for.

    Returns:
        float64 [n], in standard deviations; higher for members.

    Raises:
        Unavailable: without releases, and as ``lira_offline``.
    """
    if (release := _alone(evidence, way)) is not None:
        return lira_offline(release)
    groups = by_training(evidence)
    scores: Floats = np.sum([_joint_offline(group) for group in groups], axis=0) / np.sqrt(len(groups))
    return scores


def ways_of(evidence: Evidence, *, mean: bool = False) -> list[str]:
    """How the releases of an evidence can be combined.

    Args:
        evidence: with releases.
        mean: whether the mean of ratios is a way of its own: it is where some training has several releases.

    Returns:
        "joint", "mean" where it differs, and "release 1 alone" for the audited file and on for the others.
    """
    together = [JOINT, *([MEAN] if mean and len(set(evidence.trainings)) < len(evidence.trainings) else [])]
    return together + [ALONE.format(place + 1) for place in range(1 + len(evidence.releases))]


def choose_way(run: Callable[..., Floats], *, mean: bool = False) -> Callable[[Evidence], dict[str, Any]]:
    """The way to combine releases that finds most members of reference models.

    Args:
        run: the attack, with ``way``.
        mean: as for ``ways_of``.

    Returns:
        Evidence -> ``way``, and ``by`` what measure it was chosen; the joint one where no reference model can be attacked by
        others. It raises Unavailable without releases.
    """

    def choose(evidence: Evidence) -> dict[str, Any]:
        releases_in(evidence)
        pretended = []
        if evidence.references is not None and len(evidence.references.member) > 1:
            pretended = [evidence.with_reference_as_target(r) for r in tried_in_turn(evidence.references)]
        ways, trials = ways_of(evidence, mean=mean), list[list[Floats]]()
        members = []
        for own, member in pretended:
            try:
                trials.append([run(own, way=way) for way in ways])
            except Unavailable:
                continue
            members.append(member)
        if not trials:
            return {"way": JOINT, "by": "default, since no reference model can be attacked by others"}
        by, objective = measure(np.concatenate(members))
        values = [objective(np.concatenate(scores)) for scores in zip(*trials, strict=True)]
        return {"way": ways[int(np.argmax(values))], "by": f"{by}, {len(trials)} reference models attacked in turn"}

    return choose


def rmia_of_all(run: Callable[..., Floats]) -> Callable[..., Floats]:
    """RMIA on all releases together.

    Args:
        run: ``rmia_online`` or ``rmia_offline``.

    Returns:
        The attack, Evidence -> float64 [n]; it takes the parameters that ``choose_of_all`` gives. It raises Unavailable without
        releases, and where ``run`` does.
    """

    def of_all(evidence: Evidence, way: str = JOINT, **parameters: Any) -> Floats:
        by_release = [
            run(
                release,
                **{name: parameters[name + ending] for name in ("temperature", "a") if name + ending in parameters},
            )
            for release, ending in zip(releases_in(evidence), _endings(evidence), strict=True)
        ]
        if way != JOINT:
            return by_release[_place(way)]
        by_group = [np.mean([by_release[place] for place in group], axis=0) for group in _places(evidence)]
        scores: Floats = np.sum(by_group, axis=0)
        return scores

    return of_all


def choose_of_all(
    run: Callable[..., Floats], choose: Callable[[Evidence], dict[str, Any]]
) -> Callable[[Evidence], dict[str, Any]]:
    """The parameters of RMIA for each release, and the way to combine them.

    Args:
        run: ``rmia_online`` or ``rmia_offline``.
        choose: its parameters for one release.

    Returns:
        Evidence -> ``temperature`` and ``a`` of the audited file, ``temperature_2`` and ``a_2`` of the first other release, and
        so on, ``way``, and ``by`` what measure they were chosen. It raises Unavailable where ``choose`` does.
    """

    def of_all(evidence: Evidence) -> dict[str, Any]:
        chosen, by = dict[str, Any](), ""
        for release, ending in zip(releases_in(evidence), _endings(evidence), strict=True):
            own = choose(release)
            by = by or own["by"]
            chosen |= {name + ending: value for name, value in own.items() if name != "by"}
        way = choose_way(partial(rmia_of_all(run), **chosen))(evidence)["way"]
        return chosen | {"way": way, "by": by}

    return of_all


def _place(way: str) -> int:
    """Which release a way asks alone, the audited file being 0."""
    return int(way.split()[1]) - 1


def _alone(evidence: Evidence, way: str) -> Evidence | None:
    """What is known of the only release that is asked; None for a way that asks all."""
    releases = releases_in(evidence)
    return None if way in (JOINT, MEAN) else releases[_place(way)]


def _endings(evidence: Evidence) -> list[str]:
    return [f"_{place + 1}" if place else "" for place in range(1 + len(evidence.releases))]


def releases_in(evidence: Evidence) -> list[Evidence]:
    """What is known of each release.

    Args:
        evidence: with releases.

    Returns:
        The evidence on each alone, the audited file first.

    Raises:
        Unavailable: without releases.
    """
    if not evidence.releases:
        raise Unavailable(evidence.lacks.get("releases", "no other release of the model was named (--also)"))
    return [
        replace(release, releases=(), trainings=(), shadow=None, generated=None, inputs=None, queried={})
        for release in (evidence, *evidence.releases)
    ]


def by_training(evidence: Evidence) -> list[list[Evidence]]:
    """The releases that come from one training, together.

    Args:
        evidence: with releases.

    Returns:
        Groups of evidence on one release each; that of the audited file first.

    Raises:
        Unavailable: without releases.
    """
    releases = releases_in(evidence)
    return [[releases[place] for place in group] for group in _places(evidence)]


def _places(evidence: Evidence) -> list[list[int]]:
    """Which releases come from each training, the audited file being 0."""
    trainings = evidence.trainings
    return [[place for place, own in enumerate(trainings) if own == training] for training in dict.fromkeys(trainings)]


def _joint_online(group: Sequence[Evidence], covariance: Covariance) -> Floats:
    """The log-likelihood ratio of the releases of one training."""
    if len(group) == 1:
        return lira_online(group[0], covariance)
    references = _references(group)
    scores = np.stack([each.confidence for each in references], axis=2)
    observed = np.stack([release.target.confidence for release in group], axis=1)
    inside, out = (moments(scores, side) for side in (references[0].inside, references[0].out))
    _refuse_few(inside, out, covariance)
    basis = uncorrelated(inside, out)
    observed, inside, out = times(observed[:, None], basis)[:, 0], inside.along(basis), out.along(basis)
    both = (inside.count > 0) & (out.count > 0)
    if not both.any():
        raise Unavailable("no candidate has both a reference model trained with it and one trained without it")
    gap = (inside.mean - out.mean)[both].mean(axis=0)
    few = covariance == "shrunk" and bool(inside.count.min() < OWN_IN_MODELS)
    if few:
        # Who has IN models must not show in the scores: one gap and one spread for all candidates, as of one release.
        inside = all_alike(references[0].inside, times(scores, basis), out)
    mean_in = np.where((inside.count > 0)[:, None], inside.mean, out.mean + gap)
    mean_out = np.where((out.count > 0)[:, None], out.mean, inside.mean - gap)
    if covariance == "per-example":
        densities = [
            log_density(observed, mean, side.scatter / side.freedom[:, None, None], None)
            for mean, side in ((mean_in, inside), (mean_out, out))
        ]
        return densities[0] - densities[1]
    of_in = log_density(observed, mean_in, *(fixed(inside) if few else shrunk(inside)))
    return of_in - log_density(observed, mean_out, *shrunk(out))


def _mean_online(group: Sequence[Evidence], covariance: Covariance) -> Floats:
    """The mean of the log-likelihood ratios of the releases of one training, as if scores of all were one."""
    mean: Floats = np.mean([lira_online(release, covariance) for release in group], axis=0)
    return mean


def _joint_offline(group: Sequence[Evidence]) -> Floats:
    """How far the releases of one training lie above their OUT models, in standard deviations of the mean of them."""
    if len(group) == 1:
        return lira_offline(group[0])
    references = _references(group)
    apart = np.mean([lira_offline(release) for release in group], axis=0)
    scores = np.stack([each.confidence for each in references], axis=2)
    pooled = moments(scores, references[0].out).scatter.sum(axis=0)
    spread = np.sqrt(np.diag(pooled))
    if not spread.all():
        return np.asarray(apart)
    return np.asarray(apart / np.sqrt((pooled / np.outer(spread, spread)).mean()))


def _references(group: Sequence[Evidence]) -> list[References]:
    known = [release.references for release in group if release.references is not None]
    if len(known) < len(group):
        raise Unavailable("needs reference models of every release")
    return known


def _refuse_few(inside: Moments, out: Moments, covariance: Covariance) -> None:
    minimum = MINIMUM[covariance]
    for side, which in ((out, "OUT"), (inside, "IN")):
        enough = side.count.min() if covariance == "per-example" else side.count.max()
        few = which == "IN" and covariance == "shrunk" and side.count.min() < OWN_IN_MODELS
        if enough < minimum and not few:
            raise Unavailable(f"needs a candidate with {minimum} or more {which} reference models, found {enough:.0f}")
