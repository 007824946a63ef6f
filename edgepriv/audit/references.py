"""The fleet of reference models: what an attacker trains to learn how members and non-members differ.

Each reference model is trained on as many records as the target was, drawn from the candidates (members and non-members of
the target together; see ``memberships``), by the target's own recipe, defence included (``adaptive``), or without the
defence (``oblivious``). One more, the shadow model, is trained on half of the reference pool, which no candidate comes from
(Famili & Lao 2023, section 4.1.3).

Every attacker here knows more than most real ones: the recipe, the privacy holdout and the validation set are the owner's.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgepriv.audit.answers import Bools, Floats, Outputs, log_odds
from edgepriv.audit.memberships import Plan, plan
from edgepriv.audit.queries import Asked, asked
from edgepriv.audit.tempered import HOTTER, Tempered, tempered_log_odds
from edgepriv.audit.trained_answers import References, Shadow
from edgepriv.audit.trainer import Trainer, key_of
from edgepriv.audit.workers import LOCAL, Job, check_engine, computed_on, stored_weights, train_jobs
from edgepriv.data import Dataset, Split, canaries_in
from edgepriv.data.groups import first_groups
from edgepriv.errors import UserError
from edgepriv.heads import Answering, answering
from edgepriv.heads.masks import record_of
from edgepriv.models import Classifier, build_classifier
from edgepriv.models.lsq_steps import load_state
from edgepriv.models.sources import code_of
from edgepriv.project import say
from edgepriv.recipe import Recipe
from edgepriv.recipe.defences import cost_notes
from edgepriv.training.device import PROCESSOR
from edgepriv.training.resume import code_version

POPULATION = 5_000


@dataclass(frozen=True)
class Fleet:
    """``references``: None without reference models. ``right``: bool [R, n], whether each of them classifies each candidate
    right. ``population``: float64 [R, m], their log-odds on ``population_index`` (into the data set), which none of them was
    trained on; ``tempered_population``: float32 [len(HOTTER), R, m], the same at other temperatures. ``records``: how many
    each reference model was trained on. ``shadow``: None without a reference pool; ``shadow_index``: into the data set, its
    members first. ``models``, ``shadow_model``: files of the trained models, for ``ask``; none where only their answers are
    known. ``ask``: a file of them -> the model, to be asked more. ``recipe``: what they were trained by, None where nobody
    says."""

    references: References | None
    right: Bools
    population: np.ndarray
    tempered_population: Tempered
    population_index: np.ndarray
    records: int
    shadow: Shadow | None
    shadow_index: np.ndarray
    models: tuple[Path, ...] = ()
    shadow_model: Path | None = None
    ask: Callable[[Path], Asked] | None = None
    recipe: Recipe | None = None

    def take(self, index: np.ndarray) -> "Fleet":
        """The same models on some of the candidates.

        Args:
            index: int64 [m], or a mask bool [n].

        Returns:
            Their answers to these.
        """
        references = self.references and self.references.take(index)
        return replace(self, references=references, right=self.right[:, index])


def candidates_of(split: Split) -> np.ndarray:
    """Everything that an attack is asked about.

    Args:
        split: of the target.

    Returns:
        int64 indices of the members, then of the non-members.
    """
    return np.concatenate([split.members, split.non_members])


# By what recipe, on what, how many, where they are kept and who trains them: one argument each.
def train_fleet(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    *,
    count: int,
    cache_dir: Path,
    label: str,
    engine: str = "local",
    jobs: int | None = None,
    trainer: Trainer | None = None,
    drawn_by: int | None = None,
) -> Fleet:
    """Train, or read from the cache, the reference models and the shadow model of a recipe.

    Each model is written as it is finished, under a hash of the recipe, the data, the split and the code of training: an
    interrupted audit resumes, and nothing outdated is reused. A model that is in the cache already without its head, or after
    its first stage, since the fleet of ``recipe.undefended_start()`` was trained before, continues from there.

    Args:
        recipe: how each model is trained, quantized and defended.
        dataset: the examples.
        split: members and non-members of the target, and the attacker's pool.
        count: number of reference models, 0 or more.
        cache_dir: folder of the cache.
        label: name of the attacker, for the progress bar.
        engine: ``local``, or ``dask:ADDRESS`` (see ``workers``).
        jobs: processes of one thread each; None for one per processor.
        trainer: the user's own training function, instead of the stage ``train`` of the recipe.
        drawn_by: seed by which the records of each model are drawn, None for that of the recipe: models of two recipes can be
            set in pairs that were trained on the same records.

    Returns:
        The models' answers to the candidates and to the population.

    Raises:
        UserError: for an unknown engine, a cache that cannot be written, and a training that diverged.
    """
    check_engine(engine)
    if trainer is not None and engine != LOCAL:
        raise UserError("--trainer runs your script on this machine: leave out --engine")
    canaries = None if dataset.canaries is None else canaries_in(split, dataset)
    drawn_by = recipe.seed if drawn_by is None else drawn_by
    planned = plan(split, drawn_by, dataset.groups, canaries)
    if count:
        planned.refuse_too_large()
    candidates = planned.candidates
    population_index = sample(planned.population, POPULATION, drawn_by)
    own = key_of(trainer, dataset) if trainer is not None else []
    keys = {"on": ["gpu", *own] if computed_on(recipe, engine) != PROCESSOR else own}
    folder = cache_dir / _key(recipe, dataset, split, planned, **keys)
    shadow_in, shadow_out = _shadow_halves(split, recipe.seed, dataset.groups)
    answers_for = np.concatenate([candidates, population_index])
    memberships = planned.memberships(count)
    work = [
        Job(
            f"reference-{r:04d}.npz",
            _reseeded(recipe, r),
            _trained_on(split, own_records),
            answers_for,
            trainer=trainer,
        )
        for r, own_records in enumerate(planned.training_set(r, member) for r, member in enumerate(memberships))
    ]
    shadow_index = np.concatenate([shadow_in, shadow_out])
    if len(shadow_in) and len(shadow_out):
        work.append(
            Job("shadow.npz", _reseeded(recipe, -1), _trained_on(split, shadow_in), shadow_index, trainer=trainer)
        )
    earlier = [
        (cache_dir / _key(start, dataset, split, planned, **keys), bare) for start, bare in _starts_of(recipe, trainer)
    ]
    _train_missing(work, dataset, folder, earlier, label, engine, jobs)
    n = len(candidates)
    seen = seen_by((answers_in(folder / f"reference-{r:04d}.npz") for r in range(count)), count, dataset.y[answers_for])
    return Fleet(
        references=References(seen.odds[:, :n], np.stack(memberships), seen.tempered[:, :, :n]) if count else None,
        right=seen.right[:, :n],
        population=seen.odds[:, n:],
        tempered_population=seen.tempered[:, :, n:],
        population_index=population_index,
        records=planned.mean_records(count),
        shadow=_shadow(folder / "shadow.npz", dataset, shadow_in, shadow_out),
        shadow_index=shadow_index,
        models=tuple(folder / f"reference-{r:04d}.npz" for r in range(count)),
        shadow_model=folder / "shadow.npz" if len(shadow_in) and len(shadow_out) else None,
        ask=lambda path: asked(load_model(path, recipe, dataset), load_head(path, recipe, dataset)),
        recipe=recipe,
    )


def _starts_of(recipe: Recipe, trainer: Trainer | None) -> list[tuple[Recipe, bool]]:
    """The recipes of fleets whose models this one's can go on from, those that spare most first, and whether nothing but the
    head is missing there; none where they start anew."""
    headless = recipe.with_changes(head={"method": "none"})
    # A trainer makes the same weights whatever the recipe goes on to.
    plain = recipe.undefended_start() if trainer is None else recipe.undefended()
    starts = [(headless, True), (plain, False)]
    return [(start, bare) for start, bare in starts if start is not None and start != recipe]


def _shadow_halves(split: Split, seed: int, groups: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The shadow model's members (as many as the target's, if the pool has them) and its non-members; of other ``groups``."""
    pool = np.random.default_rng([seed, 1]).permutation(split.reference)
    trained_on = min(len(split.members), len(pool) * 3 // 5 if len(pool) < 2 * len(split.members) else len(pool))
    inside, others = first_groups(pool, groups, trained_on)
    return inside, first_groups(others, groups, min(trained_on, len(others)))[0]


def sample(index: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Some of many.

    Args:
        index: int64 [n].
        most: how many at most.
        seed: of the draw.

    Returns:
        int64 [min(n, most)], ascending.
    """
    return np.sort(np.random.default_rng([seed, 2]).permutation(index)[:most])


def _reseeded(recipe: Recipe, r: int) -> Recipe:
    """Its own initial weights and order of examples: the attacker does not know the owner's seed."""
    return recipe.with_changes(seed=int(np.random.SeedSequence([recipe.seed, 7, r + 1]).generate_state(1)[0]))


def _trained_on(split: Split, members: np.ndarray) -> Split:
    nobody = np.empty(0, dtype=np.int64)
    return Split(split.seed, np.sort(members), nobody, nobody, split.holdout, split.validation)


def _key(recipe: Recipe, dataset: Dataset, split: Split, planned: Plan, on: Sequence[str] = ()) -> str:
    made_of = [
        recipe.training_hash(),
        recipe.dp.seed,
        dataset.sha256,
        split.record(),
        planned.digest(),
        code_version(),
        *code_of(recipe.model, dataset.num_classes, dataset.input_shape),
        *on,
    ]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def _train_missing(
    work: list[Job],
    dataset: Dataset,
    folder: Path,
    earlier: Sequence[tuple[Path, bool]],
    label: str,
    engine: str,
    jobs: int | None,
) -> None:
    """``earlier``: folders of the same models at an earlier point, see ``_starts_of``."""
    missing = [_from_earlier(job, earlier) for job in work if not zipfile.is_zipfile(folder / job.name)]
    if not missing:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write reference models to {folder}: {error.strerror}") from error
    for note in cost_notes(missing[0].recipe, len(missing)):
        say(note)
    train_jobs(missing, dataset, folder, label=label, engine=engine, processes=jobs)


def _from_earlier(job: Job, earlier: Sequence[tuple[Path, bool]]) -> Job:
    for folder, bare in earlier:
        if zipfile.is_zipfile(folder / job.name):  # neither absent nor damaged
            return replace(job, start=folder / job.name, bare=bare)
    return job


def load_model(path: Path, recipe: Recipe, dataset: Dataset) -> Classifier:
    """A reference or shadow model of a Fleet.

    Args:
        path: its file.
        recipe: that it was trained by.
        dataset: that it was trained on.

    Returns:
        The model in eval mode, with the weights that it would ship with.
    """
    classifier = build_classifier(recipe.model, dataset.num_classes, dataset.input_shape)
    load_state(classifier.network, stored_weights(path))
    return classifier.eval()


def load_head(path: Path, recipe: Recipe, dataset: Dataset) -> Answering | None:
    """The head that stands behind a reference or shadow model.

    Args:
        path: the model's file.
        recipe: that it was trained by.
        dataset: that it was trained on.

    Returns:
        The head; None without one.
    """
    if recipe.head.method == "none":
        return None
    state = stored_weights(path, "head/")
    return answering(record_of(recipe.head.method, dataset.num_classes, state), path.name)


def answers_in(path: Path) -> np.ndarray:
    """What a reference or shadow model of a Fleet answered.

    Args:
        path: its file.

    Returns:
        Probabilities float [n, K] of the candidates, then of the population.
    """
    with np.load(path, allow_pickle=False) as archive:
        stored: np.ndarray = archive["probabilities"]
        return stored


@dataclass(frozen=True)
class Seen:
    """What ``count`` reference models answer to m examples. ``odds``: log-odds of the true labels, float64 [R, m];
    ``tempered``: float32 [len(HOTTER), R, m], the same at other temperatures; ``right``: bool [R, m]."""

    odds: Floats
    tempered: Tempered
    right: Bools


def seen_by(answers: Iterable[np.ndarray], count: int, labels: np.ndarray) -> Seen:
    """What reference models answer, as attacks keep it.

    Args:
        answers: of each model, probabilities [m, K], one at a time.
        count: models, R.
        labels: int64 [m].

    Returns:
        Log-odds and right answers of all.

    Raises:
        UserError: where answers are not finite.
    """
    odds = np.empty((count, len(labels)))
    tempered = np.empty((len(HOTTER), count, len(labels)), dtype=np.float32)
    right = np.empty((count, len(labels)), dtype=bool)
    for r, probabilities in enumerate(answers):
        if not np.isfinite(probabilities).all():
            raise UserError("a reference model's training diverged: lower the learning rate of the recipe")
        odds[r], tempered[:, r] = log_odds(probabilities, labels), tempered_log_odds(probabilities, labels)
        right[r] = probabilities.argmax(axis=1) == labels
    return Seen(odds, tempered, right)


def _shadow(path: Path, dataset: Dataset, shadow_in: np.ndarray, shadow_out: np.ndarray) -> Shadow | None:
    if not path.exists():
        return None
    index = np.concatenate([shadow_in, shadow_out])
    member = np.arange(len(index)) < len(shadow_in)
    groups = None if dataset.groups is None else dataset.groups[index]
    return Shadow(Outputs(answers_in(path), dataset.y[index]), member, groups)
