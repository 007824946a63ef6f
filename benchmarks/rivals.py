"""Who audits in benchmarks/audit.py: edgepriv, and two other ways to get the same reference models.

``plain`` is our own code; ``art`` is adversarial-robustness-toolbox itself. LeakPro and ML Privacy Meter themselves are run by
benchmarks/peers_audit.py.

Each is ``audit(Setting) -> AuditResult`` on the same undefended target, data, architecture, number of reference models, epochs,
batch size and optimizer (AdamW, of the recipe). ``edgepriv`` trains the shadow model too and runs every attack that asks
each example once; ``edgepriv-lira`` stops at LiRA, as the others do.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgepriv import data
from edgepriv.audit.attacks import ATTACKS
from edgepriv.audit.references import candidates_of, train_fleet
from edgepriv.audit.run import Target, membership_part
from edgepriv.audit.statistics import auc
from edgepriv.data import Dataset, Split
from edgepriv.models import Classifier
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.answers import probabilities_of


@dataclass(frozen=True)
class Setting:
    """``target``: undefended, trained on ``split.members`` by ``recipe``, which has no stage but ``train``."""

    recipe: Recipe
    dataset: Dataset
    split: Split
    references: int
    target: Classifier

    @property
    def candidates(self) -> np.ndarray:
        return candidates_of(self.split)

    @property
    def member(self) -> np.ndarray:
        return np.arange(len(self.candidates)) < len(self.split.members)


@dataclass(frozen=True)
class AuditResult:
    """``auc`` of ``attack`` on the target; ``steps``: optimizer steps of each reference model."""

    attack: str
    auc: float
    steps: int


def setting(recipe: Recipe, references: int) -> Setting:
    dataset = data.load(recipe.data.name)
    split = data.make_split(dataset, recipe.data, recipe.seed)
    target = new_classifier(recipe, dataset.num_classes, dataset.input_shape)
    run_stages(target, recipe, ("train",), dataset, split, quiet=True)
    return Setting(recipe, dataset, split, references, target)


def edgepriv(given: Setting, attacks: tuple[str, ...] | None = None) -> AuditResult:
    """``attacks``: all that ask each example once."""

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return given.target(torch.from_numpy(x)).softmax(1).numpy()

    with tempfile.TemporaryDirectory() as cache:
        fleet = train_fleet(
            given.recipe, given.dataset, given.split, count=given.references, cache_dir=Path(cache), label="benchmark"
        )
        names = attacks or [name for name, attack in ATTACKS.items() if attack.queries == 1]
        content, _ = membership_part(
            Target(predict, None, "not needed here"),
            given.dataset,
            given.split.members,
            given.split.non_members,
            {"adaptive": fleet},
            attacks=names,
            recipe=given.recipe,
        )
    aucs = {attack["name"]: attack["auc"] for attack in content["attacks"]}
    return AuditResult("LiRA online", aucs["lira-online"], _steps(given))


def plain(given: Setting) -> AuditResult:
    """The loop that papers' repositories hold: one model after another, tensors indexed, torch's own threads."""

    def train(model: nn.Module, index: np.ndarray, generator: torch.Generator) -> None:
        x, y = torch.from_numpy(given.dataset.inputs(index)), torch.from_numpy(given.dataset.y[index])
        optimizer, schedule = _optimizer(model, given)
        for _ in range(given.recipe.train.epochs):
            for batch in torch.randperm(len(x), generator=generator).split(given.recipe.train.batch_size):
                optimizer.zero_grad()
                functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
                schedule.step()

    return _lira(given, train)


def art(given: Setting) -> AuditResult:
    """Adversarial Robustness Toolbox: ShadowModels on the candidates, then MembershipInferenceBlackBox (a network on the
    confidence vector and the label). It trains at a constant learning rate."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox, ShadowModels
    from art.estimators.classification import PyTorchClassifier

    stage, dataset = given.recipe.train, given.dataset

    class Shadow(PyTorchClassifier):
        def fit(self, x: np.ndarray, y: np.ndarray, **options: Any) -> None:
            super().fit(x, y, batch_size=stage.batch_size, nb_epochs=stage.epochs, **options)

    def wrapped(model: nn.Module) -> Any:
        # Adam with decoupled weight decay is AdamW, in the form whose settings ART can copy.
        optimizer = torch.optim.Adam(
            model.parameters(), stage.lr, weight_decay=stage.weight_decay, decoupled_weight_decay=True
        )
        loss, shape = nn.CrossEntropyLoss(), dataset.input_shape
        return Shadow(model, loss, shape, dataset.num_classes, optimizer=optimizer, device_type="cpu")

    x, y = dataset.inputs(given.candidates), np.eye(dataset.num_classes, dtype=np.float32)[dataset.y[given.candidates]]
    fresh = new_classifier(given.recipe, dataset.num_classes, dataset.input_shape)
    shadows = ShadowModels(wrapped(fresh), num_shadow_models=given.references, random_state=given.recipe.seed)
    (_, y_in, seen_in), (_, y_out, seen_out) = shadows.generate_shadow_dataset(x, y)
    attack = MembershipInferenceBlackBox(wrapped(given.target))
    attack.fit(pred=seen_in, y=y_in, test_pred=seen_out, test_y=y_out)
    scores = np.ravel(attack.infer(x, y, probabilities=True))
    return AuditResult("MembershipInferenceBlackBox", auc(scores, given.member)[0], _steps(given))


AUDITS: dict[str, Callable[[Setting], AuditResult]] = {
    "edgepriv": edgepriv,
    "edgepriv-lira": lambda given: edgepriv(given, ("lira-online",)),
    "plain": plain,
    "art": art,
}


def _steps(given: Setting) -> int:
    return math.ceil(len(given.candidates) // 2 / given.recipe.train.batch_size) * given.recipe.train.epochs


def _optimizer(model: nn.Module, given: Setting) -> tuple[torch.optim.Optimizer, Any]:
    stage, total = given.recipe.train, _steps(given)
    optimizer = torch.optim.AdamW(model.parameters(), stage.lr, weight_decay=stage.weight_decay)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 0.5 * (1 + math.cos(math.pi * s / total)))


def _lira(given: Setting, train: Callable[[nn.Module, np.ndarray, torch.Generator], None]) -> AuditResult:
    """Train the reference models in turn, on complementary halves of the candidates; then Algorithm 1 of Carlini et al.
    2022 with the variances pooled over candidates, in plain numpy."""
    candidates, member, odds = given.candidates, [], []
    rng = np.random.default_rng(given.recipe.seed + 1)
    for r in range(given.references):
        if r % 2 == 0:
            inside = rng.permutation(len(candidates)) < len(candidates) // 2
        member.append(inside if r % 2 == 0 else ~inside)
        seed = given.recipe.seed + 1 + r
        own = given.recipe.with_changes(seed=seed)
        model = new_classifier(own, given.dataset.num_classes, given.dataset.input_shape)
        train(model.train(), candidates[member[-1]], torch.Generator().manual_seed(seed))
        odds.append(_odds(model.eval(), given))
    seen, chosen = np.stack(odds), np.stack(member)
    observed = _odds(given.target, given)
    likelihoods = []
    for side in (chosen, ~chosen):
        mean = np.where(side, seen, 0).sum(axis=0) / np.maximum(side.sum(axis=0), 1)
        spread = np.sqrt((np.where(side, seen - mean, 0) ** 2).sum() / side.sum())
        likelihoods.append(-0.5 * ((observed - mean) / spread) ** 2 - np.log(spread))
    return AuditResult("LiRA online", auc(likelihoods[0] - likelihoods[1], given.member)[0], _steps(given))


def _odds(model: Classifier, given: Setting) -> np.ndarray:
    labels = given.dataset.y[given.candidates]
    p = probabilities_of(model, given.dataset, given.candidates).astype(np.float64)
    rows = np.arange(len(labels))
    true = p[rows, labels]
    p[rows, labels] = 0
    return np.log(true + 1e-45) - np.log(p.sum(axis=1) + 1e-45)
