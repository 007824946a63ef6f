"""Evidence from real networks that have memorised random labels of random inputs, or have learnt nothing at all.

All networks are trained at once, as one product of matrices for each layer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from edgepriv.audit.answers import Outputs, log_odds
from edgepriv.audit.evidence import Evidence, PopulationInputs
from edgepriv.audit.trained_answers import Population, References, Shadow

CLASSES, FEATURES, HIDDEN, STEPS = 20, 64, 128, 50
CANDIDATES, SHADOWS, STRANGERS, REFERENCES, SHADOW_MODELS = 400, 400, 300, 32, 3


def memorised(seed: int = 0, steps: int = STEPS) -> tuple[Evidence, np.ndarray]:
    """Evidence on 400 candidates, half of them members, and their membership; ``steps`` 0: nobody was trained."""
    rng = np.random.default_rng(seed)
    total = CANDIDATES + SHADOWS + STRANGERS
    x = rng.standard_normal((total, FEATURES)).astype(np.float32)
    y = rng.integers(CLASSES, size=total)
    candidates, shadows, strangers = np.split(np.arange(total), [CANDIDATES, CANDIDATES + SHADOWS])
    membership = rng.permutation(CANDIDATES) < CANDIDATES // 2
    halves = [rng.permutation(CANDIDATES) < CANDIDATES // 2 for _ in range(REFERENCES // 2)]
    trained_on = np.stack([half for chosen in halves for half in (chosen, ~chosen)])
    shadow_members = [rng.permutation(SHADOWS) < SHADOWS // 2 for _ in range(SHADOW_MODELS)]
    training_sets = [
        candidates[membership],
        *(shadows[member] for member in shadow_members),
        *(candidates[member] for member in trained_on),
    ]
    with one_thread():
        networks = _trained(x, y, np.stack(training_sets), steps, seed)
        target, *others = _answers(networks, np.concatenate([x, rng.permuted(x[candidates], axis=0)]))
    references = others[SHADOW_MODELS:]
    of_shadows = np.concatenate([p[shadows] for p in others[:SHADOW_MODELS]])
    on_strangers = Outputs(target[strangers], y[strangers])
    evidence = Evidence(
        target=Outputs(
            target[candidates], y[candidates], scores=np.log(np.maximum(target[candidates], 1e-30)).astype(float)
        ),
        shadow=Shadow(Outputs(of_shadows, np.tile(y[shadows], SHADOW_MODELS)), np.concatenate(shadow_members)),
        references=References(np.stack([log_odds(p[candidates], y[candidates]) for p in references]), trained_on),
        population=Population(
            on_strangers.confidence, np.stack([log_odds(p[strangers], y[strangers]) for p in references])
        ),
        generated=target[total:],
        inputs=PopulationInputs(x[candidates], x[strangers], on_strangers),
    )
    again = replace(evidence, shadow=None, generated=None, inputs=None)
    return replace(evidence, releases=(again,), trainings=(0, 0)), membership


def _trained(x: np.ndarray, y: np.ndarray, sets: np.ndarray, steps: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    layers = [
        torch.randn(len(sets), rows, columns, generator=generator) / rows**0.5
        for rows, columns in ((FEATURES, HIDDEN), (HIDDEN, CLASSES))
    ]
    inputs, labels = torch.from_numpy(x[sets]), torch.from_numpy(y[sets]).flatten()
    optimiser = torch.optim.Adam([layer.requires_grad_() for layer in layers], lr=0.01)
    for _ in range(steps):
        logits = (inputs @ layers[0]).relu() @ layers[1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels)
        optimiser.zero_grad()
        # The mean over all networks would shrink with their number; Adam does not mind.
        loss.backward()
        optimiser.step()
    return layers


@torch.no_grad()
def _answers(layers: list[torch.Tensor], x: np.ndarray) -> np.ndarray:
    return ((torch.from_numpy(x) @ layers[0]).relu() @ layers[1]).softmax(-1).numpy()


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
