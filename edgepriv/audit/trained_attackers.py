"""Attackers whose reference models are trained by the model's recipe, and by those of its other releases."""

from dataclasses import replace

from edgepriv import data, project
from edgepriv.artifact import manifest
from edgepriv.audit.attackers import Attackers, existing_attackers
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.references import Fleet, train_fleet
from edgepriv.audit.releases import Release, known_of
from edgepriv.audit.request import Request
from edgepriv.audit.subject import Subject
from edgepriv.extra_data import with_extra
from edgepriv.models.sources import refuse_unconfirmed
from edgepriv.recipe import Recipe


def attackers_of(subject: Subject, trained_by: Recipe, request: Request) -> Attackers:
    """Those whose models exist, or are trained here where an attack needs any; with what they know of other releases.

    Args:
        subject: what is examined.
        trained_by: the recipe that an adaptive attacker follows.
        request: what is asked of the audit.

    Returns:
        The attackers; without fleets where no attack needs any.

    Raises:
        UserError: where reference models cannot be opened or trained, and for a network of the user's own that is not named.
    """
    return _with_releases(_alone(subject, trained_by, request), subject, trained_by, request)


def _alone(subject: Subject, trained_by: Recipe, request: Request) -> Attackers:
    """Attackers who hold the audited file only."""
    asked, brought, target = subject.recipe.audit, request.brought, subject.target
    if brought.exists:
        attackers = existing_attackers(brought, subject)
        for line in attackers.notes:
            project.say(line)
        return attackers
    usable = [
        ATTACKS[name] for name in subject.attacks if ATTACKS[name].reads != "probabilities" or not target.labels_only
    ]
    needed = {need for attack in usable for need in attack.needs}
    if not needed & {"references", "shadow"}:
        return Attackers()
    where = str(manifest.path_beside(subject.model.path))
    refuse_unconfirmed(trained_by.model.name, request.confirmed, where)
    recipes = {"adaptive": trained_by, "oblivious": trained_by.undefended()}
    count = asked.references if "references" in needed else 0
    # The plainest first: what follows goes on from it where it can.
    plainest_first = sorted(asked.threat_models, reverse=True)
    trained = {name: trained_fleet(subject, recipes[name], name, count, request) for name in plainest_first}
    return apart(subject, {name: trained[name] for name in asked.threat_models})


def _with_releases(attackers: Attackers, subject: Subject, trained_by: Recipe, request: Request) -> Attackers:
    """Attackers who hold other releases as well: reference models are brought through the chain of each."""
    if not subject.releases or not attackers.fleets:
        return attackers
    name = "adaptive" if "adaptive" in attackers.fleets else next(iter(attackers.fleets))
    fleets = [
        attackers.fleets[name]
        if release.recipe is None
        else _fleet_of_release(subject, release, release.recipe, trained_by, attackers, request)
        for release in subject.releases
    ]
    return replace(attackers, releases={name: known_of(subject.releases, subject.split, fleets, subject.recipe.seed)})


def _fleet_of_release(
    subject: Subject, release: Release, recipe: Recipe, trained_by: Recipe, attackers: Attackers, request: Request
) -> Fleet:
    """Reference models by the recipe of another release, each trained on the same records as that of the audited file."""
    refuse_unconfirmed(recipe.model.name, request.confirmed, str(manifest.path_beside(release.model.path)))
    start = {"path": trained_by.start.path} if recipe.start.active else {}
    recipe = recipe.with_changes(device=subject.recipe.device, start=start)
    label = f"adaptive, {release.model.name}"
    fleet = trained_fleet(subject, recipe, label, attackers.references, request, drawn_by=trained_by.seed)
    return apart(subject, {label: fleet}).fleets[label]


def apart(subject: Subject, fleets: dict[str, Fleet]) -> Attackers:
    """Attackers with the same models on the ordinary candidates and, by themselves, on the canaries.

    Args:
        subject: what is examined.
        fleets: threat model -> models, on all candidates.

    Returns:
        The attackers.
    """
    if subject.planted is None:
        return Attackers(fleets)
    planted = data.canaries_in(subject.whole, subject.dataset)
    average, canaries = ({name: fleet.take(side) for name, fleet in fleets.items()} for side in (~planted, planted))
    return Attackers(average, on_canaries=canaries)


def trained_fleet(
    subject: Subject, trained_by: Recipe, label: str, count: int, request: Request, drawn_by: int | None = None
) -> Fleet:
    """Reference models by a recipe, or by the user's function.

    Args:
        subject: what is examined.
        trained_by: the recipe.
        label: the threat model, or another name for progress.
        count: of models; 0 trains shadow models alone.
        request: what is asked of the audit.
        drawn_by: seed by which their records are drawn, None for the recipe's.

    Returns:
        The models, kept in the cache folder of the request.

    Raises:
        UserError: where they cannot be trained.
    """
    brought = request.brought
    trainers = {"oblivious": brought.defence_free or brought.trainer}
    trained_by, dataset = with_extra(trained_by, subject.dataset, subject.whole, quiet=True)
    return train_fleet(
        trained_by,
        dataset,
        subject.whole,
        count=count,
        cache_dir=request.cache_dir / "references",
        label=label,
        engine=subject.recipe.audit.engine,
        trainer=trainers.get(label, brought.trainer),
        drawn_by=drawn_by,
    )
