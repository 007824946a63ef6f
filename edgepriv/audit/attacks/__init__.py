"""Membership inference attacks by name. A new one: a file with a function Evidence -> scores, and a line below."""

from collections.abc import Callable
from functools import partial

from edgepriv.audit.answers import Floats, Outputs
from edgepriv.audit.attacks import query_based, signals
from edgepriv.audit.attacks.base import NEEDS, TRAINED, Attack, Unavailable
from edgepriv.audit.attacks.blindmi import blindmi_diff, blindmi_diff_without, blindmi_one_class
from edgepriv.audit.attacks.classwise import classwise
from edgepriv.audit.attacks.difficulty import difficulty_calibration
from edgepriv.audit.attacks.lira import lira_offline, lira_online
from edgepriv.audit.attacks.ml_leaks import ml_leaks
from edgepriv.audit.attacks.quantile import quantile_regression
from edgepriv.audit.attacks.rmia import choose_offline, choose_online, rmia_offline, rmia_online
from edgepriv.audit.attacks.several import (
    choose_of_all,
    choose_way,
    lira_offline_of_all,
    lira_online_of_all,
    rmia_of_all,
)
from edgepriv.audit.attacks.shadow_mlp import shadow_mlp
from edgepriv.audit.attacks.three_subnet import three_subnet
from edgepriv.audit.attacks.white_box import gradient_norm, gradients_and_activations, inverse_hessian
from edgepriv.audit.augment import MOST_COPIES
from edgepriv.audit.boundary import NOISE_QUERIES, boundary_queries
from edgepriv.audit.evidence import Evidence

__all__ = ["ATTACKS", "NEEDS", "TRAINED", "Attack", "Unavailable"]

YEOM, SONG, FAMILI = "Yeom et al. 2018", "Song & Mittal 2021", "Famili & Lao 2023"
CARLINI, ZARIFZADEH = "Carlini et al. 2022", "Zarifzadeh et al. 2024"
NASR_2019, SURI = "Nasr et al. 2019", "Suri et al. 2024"
SALEM, NASR, HUI = "Salem et al. 2019", "Nasr et al. 2018", "Hui et al. 2021"
OWN = "the file's own scores"
WATSON, BERTRAN, BRANNVALL = "Watson et al. 2022", "Bertran et al. 2023", "Brännvall 2026"
CHOQUETTE, LIU, ROBUST = "Choquette-Choo et al. 2021", "Liu et al. 2022", "Song, Shokri & Mittal 2019"


MOST_AUGMENTED = 6
"""Augmented copies of a candidate, at most (``augmented.copies_asked``)."""
WORST_OF = 3
"""Random starts of the worst case; the first is that of every other attack on perturbed candidates."""


def _on_target(signal: Callable[[Outputs], Floats]) -> Callable[[Evidence], Floats]:
    return lambda evidence: signal(evidence.target)


LABELS, UNLABELLED, GENERATED = frozenset({"labels"}), frozenset[str](), frozenset({"generated"})
SCORES = frozenset({"scores"})
SHADOW, REFERENCES = frozenset({"labels", "shadow"}), frozenset({"labels", "references"})
LABEL_QUERIES, GRADIENTS = LABELS | {"label-queries"}, frozenset({"gradients"})
WEIGHTS = LABELS | {"weights"}

_PLAIN = (
    Attack("correctness", "Correct prediction (gap)", YEOM, LABELS, _on_target(signals.correctness), reads="label"),
    Attack("confidence", "Confidence", SONG, LABELS, _on_target(signals.confidence)),
    Attack("entropy", "Entropy", SONG, UNLABELLED, _on_target(signals.entropy)),
    Attack("modified-entropy", "Modified entropy", SONG, LABELS, _on_target(signals.modified_entropy)),
    Attack("loss", "Loss", YEOM, LABELS, _on_target(signals.loss)),
    Attack("top-1", "Largest probability", SALEM, UNLABELLED, _on_target(signals.top_one)),
    Attack("score", "Score of the true class", OWN, LABELS | SCORES, signals.score),
    Attack("margin", "Margin between scores", CARLINI, LABELS | SCORES, signals.margin),
    Attack("largest-score", "Largest score", SALEM, SCORES, signals.largest_score),
    Attack("blindmi-diff-without", "BlindMI-Diff without generated", HUI, UNLABELLED, blindmi_diff_without),
    Attack("blindmi-diff", "BlindMI-Diff with generated", HUI, GENERATED, blindmi_diff),
    Attack("blindmi-one-class", "BlindMI one-class", HUI, GENERATED, blindmi_one_class),
    Attack("quantile-regression", "Quantile regression", BERTRAN, frozenset({"labels", "population inputs"}),
           quantile_regression),
    Attack("confidence-classwise", "Confidence by class", SONG, SHADOW, classwise(signals.confidence)),
    Attack("entropy-classwise", "Entropy by class", SONG, SHADOW, classwise(signals.entropy)),
    Attack("modified-entropy-classwise", "Modified entropy by class", SONG, SHADOW,
           classwise(signals.modified_entropy)),
    Attack("loss-classwise", "Loss by class", SONG, SHADOW, classwise(signals.loss)),
    Attack("shadow-mlp", "Shadow model and MLP", FAMILI, frozenset({"shadow"}), shadow_mlp),
    Attack("ml-leaks", "ML-Leaks, three largest", SALEM, frozenset({"shadow"}), ml_leaks),
    Attack("three-subnet", "Three-subnet network", NASR, SHADOW, three_subnet),
    Attack("difficulty-calibration", "Difficulty calibration", WATSON, REFERENCES, difficulty_calibration),
    Attack("lira-offline", "LiRA offline", CARLINI, REFERENCES, lira_offline),
    Attack("lira-online", "LiRA online", CARLINI, REFERENCES, lira_online),
    Attack("lira-offline-fixed", "LiRA offline, one variance", CARLINI, REFERENCES,
           partial(lira_offline, variance="fixed")),
    Attack("lira-online-fixed", "LiRA online, one variance", CARLINI, REFERENCES,
           partial(lira_online, variance="fixed")),
    Attack("lira-offline-per-example", "LiRA offline, variance per example", CARLINI, REFERENCES,
           partial(lira_offline, variance="per-example")),
    Attack("lira-online-per-example", "LiRA online, variance per example", CARLINI, REFERENCES,
           partial(lira_online, variance="per-example")),
    Attack("bavaria-offline", "BaVarIA offline", BRANNVALL, REFERENCES, partial(lira_offline, variance="bayesian")),
    Attack("bavaria-online", "BaVarIA online", BRANNVALL, REFERENCES, partial(lira_online, variance="bayesian")),
    Attack("rmia-offline", "RMIA offline", ZARIFZADEH, REFERENCES, rmia_offline, tune=choose_offline),
    Attack("rmia-online", "RMIA online", ZARIFZADEH, REFERENCES, rmia_online, tune=choose_online),
)  # fmt: skip

_QUERY_BASED = (
    Attack("label-only-augmentation", "Labels of augmented copies", CHOQUETTE, LABEL_QUERIES, query_based.augmentation,
           MOST_COPIES, "label", "augmentation"),
    Attack("label-only-augmentation-mlp", "Labels of augmented copies and MLP", CHOQUETTE, LABEL_QUERIES | SHADOW,
           query_based.augmentation_mlp, MOST_COPIES, "label", "augmentation"),
    Attack("label-only-noise", "Labels under noise", CHOQUETTE, LABEL_QUERIES, query_based.noise,
           1 + NOISE_QUERIES, "label", "noise"),
    Attack("label-only-boundary", "Distance to the boundary by labels", CHOQUETTE, LABEL_QUERIES, query_based.boundary,
           boundary_queries(), "label", "boundary"),
    Attack("loss-trajectory", "Loss trajectory of a distilled copy", LIU, SHADOW, query_based.loss_trajectory,
           asks="distilled"),
    Attack("adversarial-robustness", "Worst-case confidence", ROBUST, LABELS | GRADIENTS,
           query_based.worst_case_confidence, WORST_OF, asks="adversarial"),
)  # fmt: skip

_WHITE_BOX = (
    Attack("gradient-norm", "Length of the gradient", NASR_2019, WEIGHTS, gradient_norm, reads="weights", asks="weights"),
    Attack("inverse-hessian", "Inverse Hessian of the last layer (IHA)", SURI, WEIGHTS, inverse_hessian,
           reads="weights", asks="weights"),
    Attack("gradients-activations", "Gradients and activations of the last layer", NASR_2019, WEIGHTS | SHADOW,
           gradients_and_activations, reads="weights", asks="weights"),
)  # fmt: skip

# The same attacks on perturbed candidates (Song, Shokri & Mittal 2019): a robust model remembers its members' surroundings.
_PERTURBED = tuple(
    Attack(
        f"adversarial/{attack.name}",
        f"{attack.title}, on perturbed inputs",
        attack.paper,
        attack.needs | GRADIENTS,
        query_based.on_adversarial(attack.run),
        asks="adversarial",
        tune=attack.tune,
    )
    for attack in _PLAIN
    if attack.needs <= SHADOW | REFERENCES
)

# LiRA and RMIA on copies such as training with augmentation has seen.
_AUGMENTED = tuple(
    Attack(
        f"augmented/{attack.name}",
        f"{attack.title}, on augmented copies",
        attack.paper,
        attack.needs | {"augmentation"},
        query_based.on_copies(attack.run),
        MOST_AUGMENTED,
        asks="augmented",
        tune=attack.tune,
    )
    for attack in _PLAIN
    if attack.name in ("lira-offline", "lira-online", "rmia-offline", "rmia-online")
)

# The same by who holds several releases of the model.
RELEASES = REFERENCES | {"releases"}
_SEVERAL = (
    Attack("releases/lira-offline", "LiRA offline, on several releases", CARLINI, RELEASES, lira_offline_of_all,
           tune=choose_way(lira_offline_of_all)),
    Attack("releases/lira-online", "LiRA online, on several releases", CARLINI, RELEASES, lira_online_of_all,
           tune=choose_way(lira_online_of_all, mean=True)),
    Attack("releases/rmia-offline", "RMIA offline, on several releases", ZARIFZADEH, RELEASES, rmia_of_all(rmia_offline),
           tune=choose_of_all(rmia_offline, choose_offline)),
    Attack("releases/rmia-online", "RMIA online, on several releases", ZARIFZADEH, RELEASES, rmia_of_all(rmia_online),
           tune=choose_of_all(rmia_online, choose_online)),
)  # fmt: skip

ATTACKS: dict[str, Attack] = {
    attack.name: attack for attack in (*_PLAIN, *_QUERY_BASED, *_WHITE_BOX, *_AUGMENTED, *_SEVERAL, *_PERTURBED)
}
