"""Differentially private training: what each step does to a gradient, what it costs, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch
from opacus.accountants import create_accountant
from scipy import stats
from torch import nn
from torch.nn import functional
from weights import weights_of

from edgepriv.data import fitted, load, make_split
from edgepriv.errors import UserError
from edgepriv.recipe import Data, Dp, Quantize, Recipe, Stage, parse
from edgepriv.recipe.defences import DEFENCES
from edgepriv.training import new_classifier, run_stages
from edgepriv.training.clipped import clipped_sums, examples_at_once, keeps_apart
from edgepriv.training.dp import add_clipped_gradients, add_noise, refuse_unsupported
from edgepriv.training.dp_draws import normal, secret, uniform
from edgepriv.training.dp_plan import Plan, later_plan, plan_of
from edgepriv.training.objectives import Asked, Ground, objectives_of
from edgepriv.training.resume import key_of
from edgepriv.training.simulation import simulation_of
from edgepriv.training.stacked import stackable
from edgepriv.training.starting import normalised_for_dp

QUIET = Plan(noise_multiplier=0.0, clip=0.1, sample_rate=0.25, delta=1e-4, members=80, steps_per_epoch=4)
RECIPE = Recipe(
    model={"name": "cnn", "args": {"width": 4}},
    train={"epochs": 3, "batch_size": 32, "lr": 0.01},
    dp={"epsilon": 4.0, "clip": 0.5, "seed": 7},
)


def set_private_gradients(network, weights, x, y, plan, generator):
    """One step, its batch in one part."""
    network.zero_grad(set_to_none=True)
    answered = add_clipped_gradients(network, weights, x, y, plan)
    add_noise(network, plan, generator)
    return answered


def by_hand(network, weights_now, x, y, clip):
    """One example after another through autograd: clipped to ``clip``, summed."""
    parameters = list(network.parameters())
    total, norms = [torch.zeros_like(p) for p in parameters], []
    for i in range(len(x)):
        logits = torch.func.functional_call(network, weights_now(), (x[i : i + 1],))
        gradients = torch.autograd.grad(functional.cross_entropy(logits, y[i : i + 1]), parameters)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        norms.append(float(norm))
        for sum_, g in zip(total, gradients, strict=True):
            sum_ += g * min(1.0, clip / float(norm))
    return total, norms


@pytest.fixture
def batch(examples, split):
    return examples(split.members).batch(torch.arange(20))


@pytest.mark.parametrize(
    ("clip", "rule"),
    [(0.1, None), (1.5, None), (100.0, None), (1.5, Quantize(bits=3)), (1.5, Quantize(bits=3, quantizer="dorefa"))],
)
def test_each_gradient_is_clipped_by_itself(classifier, batch, clip, rule, monkeypatch):
    monkeypatch.setattr("edgepriv.training.dp._NUMBERS_AT_ONCE", 10_000)  # a few examples at a time
    monkeypatch.setattr("edgepriv.training.clipped._IN_CACHE", 10_000)
    network, (x, y) = classifier().network, batch
    weights_now = simulation_of(network, rule).weights if rule else dict
    plan = dataclasses.replace(QUIET, clip=clip)
    loss, logits = set_private_gradients(network, weights_now(), x, y, plan, torch.Generator())
    expected, norms = by_hand(network, weights_now, x, y, clip)
    for parameter, sum_ in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, sum_ / plan.expected, rtol=1e-3, atol=1e-6)
    assert (min(norms) > clip) or clip > 0.1
    torch.testing.assert_close(loss, functional.cross_entropy(logits, y))


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize(
    ("model", "shape", "known"),
    [
        ({"name": "lenet"}, (1, 12, 12), True),
        ({"name": "mlp", "args": {"widths": [8, 6]}}, (9,), True),
        ({"name": "linear", "features": "scattering"}, (1, 12, 12), True),
        ({"name": "cnn", "args": {"width": 2}}, (1, 12, 13), True),
        ({"name": "cnn", "args": {"width": 2}, "features": "scattering"}, (1, 16, 16), True),
        ({"name": "resnet20", "args": {"norm": "group"}}, (2, 10, 9), True),
        ({"name": "cnn", "args": {"width": 2}}, (1, 12, 12), False),
    ],
    ids=["lenet", "mlp", "features", "cnn", "cnn behind features", "resnet", "each by itself"],
)
def test_the_mean_over_the_copies_of_each_example_is_clipped_once(model, shape, known, copies):
    """De et al. 2022, section 3.2; one copy is DP-SGD as it always was."""
    torch.manual_seed(0)
    network = new_classifier(Recipe(model=model), 3, shape).network
    network = network if known else nn.Sequential(network, nn.Identity())  # a type that clipped.py does not know
    x, y = torch.rand(6 * copies, *shape), torch.tensor([0, 1, 2, 2, 1, 0]).repeat_interleave(copies)
    trained = [value for value in network.parameters() if value.requires_grad]
    own = [slice(start, start + copies) for start in range(0, len(x), copies)]
    gradients = [torch.autograd.grad(functional.cross_entropy(network(x[i]), y[i]), trained) for i in own]
    norms = [torch.cat([each.flatten() for each in own]).norm() for own in gradients]
    plan = dataclasses.replace(QUIET, clip=float(sorted(norms)[3]), copies=copies)
    assert keeps_apart(network) == known
    _, logits = set_private_gradients(network, {}, x, y, plan, torch.Generator())
    for place, parameter in enumerate(trained):
        expected = sum(
            own[place] * min(1.0, plan.clip / float(norm)) for own, norm in zip(gradients, norms, strict=True)
        )
        torch.testing.assert_close(parameter.grad * plan.expected, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(logits, network(x))


STRIDED = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (2, 1), "dilation": (1, 2)}


@pytest.mark.parametrize(
    ("layer", "known"),
    [
        (nn.Conv2d(2, 4, **STRIDED), True),
        (nn.Conv2d(2, 4, (2, 3), dilation=(3, 2), padding=2), True),
        (nn.Conv2d(2, 4, 3, bias=False), True),
        (nn.Conv2d(2, 4, 3, padding="same"), False),
        (nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), False),
        (nn.Conv2d(2, 4, 3, groups=2), False),
    ],
    ids=["strided", "dilated", "no bias", "same", "circular", "groups"],
)
def test_every_kind_of_convolution_has_its_gradients(layer, known):
    network = nn.Sequential(layer, nn.GroupNorm(2, 4), nn.Linear(layer(torch.rand(1, 2, 9, 7)).shape[-1], 1))
    network.append(Flat())
    x, y = torch.rand(6, 2, 9, 7), torch.tensor([0, 1, 2, 2, 1, 0])
    assert keeps_apart(network[:3]) == known
    if known:
        sums, _, _ = clipped_sums(network, x, y, 0.05)
        expected, norms = by_hand(network, dict, x, y, 0.05)
        assert max(norms) > 0.05
        for parameter, sum_ in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(sums[parameter], sum_, rtol=1e-3, atol=1e-6)


def test_a_layer_that_somebody_has_changed_is_not_known():
    network = new_classifier(Recipe(model={"name": "linear"}), 3, (1, 4, 4)).network
    assert keeps_apart(network)
    hook = network.fc.register_forward_hook(lambda layer, given, out: out - out.mean(0))
    assert not keeps_apart(network)
    hook.remove()
    network.fc.forward = lambda x: x
    assert not keeps_apart(network)


def test_copies_that_nearly_cancel_are_clipped():
    """Their gradients are large, and the gradient of their mean is what counts."""
    network = new_classifier(Recipe(model={"name": "linear"}), 2, (8,)).network
    x = 3000 * torch.rand(1, 8, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    x[1] += 0.01
    with torch.no_grad():
        network.fc.weight.zero_()
    sums, _, _ = clipped_sums(network, x, torch.tensor([0, 1]), 1.0, copies=2)
    assert float(torch.cat([each.flatten() for each in sums.values()]).norm()) <= 1.0 + 1e-4


def test_how_many_examples_fit_at_a_time(monkeypatch):
    network = new_classifier(Recipe(model={"name": "cnn", "args": {"width": 4}}), 3, (1, 12, 12)).network
    x = torch.rand(1, 1, 12, 12)
    assert examples_at_once(network, x, 50) == 50
    monkeypatch.setattr("edgepriv.training.clipped._IN_CACHE", 10_000)
    assert examples_at_once(network, x, 50) == 10_000 // (3 * 4 * 12 * 12)  # the second convolution's inputs
    assert examples_at_once(network, x.repeat(2, 1, 1, 1), 50) == 10_000 // (2 * 3 * 4 * 12 * 12)
    monkeypatch.setattr("edgepriv.training.clipped._GRADIENTS_AT_ONCE", 1)
    assert examples_at_once(network, x, 50) == 1


def test_a_large_batch_is_accumulated_in_parts(toy, split, monkeypatch):
    """What is in memory at a time does not depend on the size of the batch, and nor does the result."""
    changed = RECIPE.with_changes(train={"epochs": 2, "batch_size": 64, "augment": "crop_flip", "ema": 0.9})
    recipe = changed.model_copy(update={"dp": Dp(noise=0.01, augmentations=2, seed=0)})
    split = dataclasses.replace(split, members=split.members[:100])

    def trained(at_once):
        monkeypatch.setattr("edgepriv.training.objectives.dp._AT_ONCE", at_once)
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        facts = run_stages(classifier, recipe, ("train",), toy, split, quiet=True).defences["dp"]
        return weights_of(classifier), facts

    monkeypatch.setattr("edgepriv.training.loop.augmented", lambda x, how, generator: x)  # whose draws go by parts
    (whole, facts), (in_parts, _) = trained(10_000), trained(14)
    torch.testing.assert_close(in_parts, whole, rtol=1e-3, atol=1e-5)
    assert facts["augmentations"] == 2


def test_tables_have_no_augmented_copies(toy):
    recipe = RECIPE.with_changes(model={"name": "mlp", "args": {}}, train={"augment": "crop"}, dp={"augmentations": 4})
    (objective,) = objectives_of(Asked(recipe, "train", (9,)))
    with pytest.raises(UserError, match="only images are augmented"):
        objective.refuse(Ground(nn.Linear(9, 2), 2, 100, 0))


class Flat(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3]


class Mixing(nn.Module):
    """One example moves the answers to the others."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x - x.mean(0))


def test_a_network_that_might_mix_examples_is_asked_for_each_by_itself():
    assert not keeps_apart(Mixing())
    x, y = torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)
    network = Mixing()
    set_private_gradients(network, {}, x, y, QUIET, torch.Generator())
    together = network.fc.weight.grad.clone()
    set_private_gradients(network, {}, x[:7], y[:7], QUIET, torch.Generator())
    assert float((together - network.fc.weight.grad).norm()) * QUIET.expected <= QUIET.clip * (1 + 1e-4)


def test_the_gradient_passes_through_whatever_stands_in_for_a_weight(classifier, batch):
    """A stand-in that is not the identity: the norm that counts is the parameter's, not the stand-in's."""
    network, (x, y) = classifier().network, batch
    weights_now = lambda: {"fc.weight": torch.tanh(3 * network.fc.weight)}  # noqa: E731
    set_private_gradients(network, weights_now(), x, y, QUIET, torch.Generator())
    expected, _ = by_hand(network, weights_now, x, y, QUIET.clip)
    for parameter, sum_ in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, sum_ / QUIET.expected, rtol=1e-3, atol=1e-6)


def test_the_noise_has_the_standard_deviation_that_is_accounted_for():
    network = nn.Linear(300, 100)
    plan = dataclasses.replace(QUIET, noise_multiplier=1.7, clip=0.4)
    nothing = torch.zeros(0, 300), torch.zeros(0, dtype=torch.int64)
    loss, logits = set_private_gradients(network, {}, *nothing, plan, torch.Generator().manual_seed(3))
    noise = network.weight.grad * plan.expected
    assert float(noise.std()) == pytest.approx(1.7 * 0.4, rel=0.02)  # of 30,000 draws
    assert abs(float(noise.mean())) < 0.02
    assert (float(loss), len(logits)) == (0.0, 0)


def test_one_example_moves_the_sum_by_no_more_than_the_bound(classifier, batch):
    """The property that the proof rests on."""
    network, (x, y) = classifier().network, batch
    grads = []
    for rows in (slice(0, 20), slice(0, 19)):
        set_private_gradients(network, {}, x[rows], y[rows], QUIET, torch.Generator())
        grads.append(torch.cat([p.grad.flatten() for p in network.parameters()]) * QUIET.expected)
    assert float((grads[0] - grads[1]).norm()) <= QUIET.clip * (1 + 1e-4)


def test_every_member_is_sampled_by_itself():
    generator = torch.Generator().manual_seed(0)
    plan = dataclasses.replace(QUIET, members=2000, steps_per_epoch=100, sample_rate=0.01)
    sizes = np.array([len(batch) for batch in plan.batches(generator)])
    assert abs(sizes.mean() - 20) < 1.5
    assert abs(sizes.var() - 2000 * 0.01 * 0.99) < 8  # binomial; fixed batches have none
    few = dataclasses.replace(QUIET, members=3, steps_per_epoch=200, sample_rate=0.05)
    assert min(len(batch) for batch in few.batches(generator)) == 0


@pytest.mark.filterwarnings("ignore:Secure RNG turned off")  # its noise is not what is compared
def test_epsilon_is_what_opacus_accounts_for_the_same_run(toy, split):
    from opacus import PrivacyEngine

    classifier = new_classifier(RECIPE, toy.num_classes, toy.input_shape)
    facts = run_stages(classifier, RECIPE, ("train",), toy, split, quiet=True).defences["dp"]

    engine = PrivacyEngine(accountant="prv")
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.zeros(len(split.members), 2)), batch_size=32
    )
    network = nn.Linear(2, 2)
    network, optimizer, loader = engine.make_private(
        module=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        data_loader=loader,
        noise_multiplier=facts["noise_multiplier"],
        max_grad_norm=facts["clip"],
    )
    for _ in range(RECIPE.train.epochs):
        for (x,) in loader:
            optimizer.zero_grad()
            network(x.requires_grad_()).sum().backward()
            optimizer.step()
    assert facts["epsilon"] == pytest.approx(engine.get_epsilon(facts["delta"]), rel=1e-9)
    assert 3.9 < facts["epsilon"] <= 4.0
    assert facts["delta"] == pytest.approx(1 / 1300)
    assert (facts["steps"], facts["sample_rate"]) == (15, 1 / 5)
    assert (facts["accountant"], facts["sampling"]) == ("prv", "poisson")


def test_an_early_stop_which_depends_on_the_members_saves_nothing(toy, split):
    patient = RECIPE.with_changes(train={"epochs": 12, "lr": 1e-12, "select": "best", "patience": 1})
    classifier = new_classifier(patient, toy.num_classes, toy.input_shape)
    done = run_stages(classifier, patient, ("train",), toy, split, quiet=True)
    assert len(done.history) == 2
    assert (done.defences["dp"]["steps"], done.defences["dp"]["steps_taken"]) == (12 * 5, 2 * 5)
    assert 3.9 < done.defences["dp"]["epsilon"] <= 4.0


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"train": {"adversarial": True}, "adversary": {"method": "pgd", "steps": 2, "eps": 0.05}},
        {"train": {"quantized": True}, "quantize": {"bits": 4}},
        {"train": {"quantized": True}, "quantize": {"bits": 4, "quantizer": "dorefa"}},
        {"train": {"augment": "crop_flip", "batch_size": 1}},
        {"model": {"name": "dropout_net:build", "args": {}}},
        {"model": {"name": "resnet20", "args": {"norm": "group"}}, "train": {"epochs": 2}},
    ],
    ids=[
        "clean",
        "adversarial",
        "quantized",
        "activations too",
        "augmented, batches often empty",
        "dropout",
        "group norm",
    ],
)
def test_killed_and_started_again_gives_the_same_bits(toy, split, tmp_path, dies_after, sections):
    members = split.members if sections.get("model", {}).get("name") != "resnet20" else split.members[:20]
    split = dataclasses.replace(split, members=members[:40] if "batch_size" in sections.get("train", {}) else members)
    recipe = Recipe.model_validate(RECIPE.model_dump())
    model = sections.get("model")
    recipe = recipe.model_copy(update={"model": type(recipe.model)(**model)}) if model else recipe
    recipe = recipe.with_changes(**{name: change for name, change in sections.items() if name != "model"})

    def run(resume_file=None):
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        done = run_stages(classifier, recipe, ("train",), toy, split, resume_file=resume_file, quiet=True)
        return done.history, done.defences, weights_of(classifier)

    whole = run()
    dies_after(2, run, tmp_path / "p")
    again = run(tmp_path / "p")
    assert again[:2] == whole[:2]
    assert torch.equal(again[2], whole[2])


def test_it_learns(toy, split):
    generous = RECIPE.with_changes(train={"epochs": 15, "lr": 0.02}, dp={"epsilon": 200.0})
    classifier = new_classifier(generous, toy.num_classes, toy.input_shape)
    assert run_stages(classifier, generous, ("train",), toy, split, quiet=True).history[-1]["accuracy"] > 0.9


@pytest.mark.parametrize(("epsilon", "epochs"), [(0.3, 1), (1.0, 10), (8.0, 40), (500.0, 3)])
def test_the_budget_is_kept(epsilon, epochs):
    plan = plan_of(Dp(epsilon=epsilon), Stage(epochs=epochs, batch_size=100), 1000)
    assert 0.9 * epsilon < plan.spent(epochs)["epsilon"] <= epsilon


@pytest.mark.filterwarnings("ignore:Optimal order is the")
@pytest.mark.parametrize(
    ("noise", "said"),
    [(2.0, "no epsilon was asked for"), (0.05, "no guarantee in practice"), (0.0, "no differential privacy")],
)
def test_noise_that_is_given_has_the_epsilon_that_it_has(toy, split, noise, said):
    recipe = RECIPE.with_changes(train={"epochs": 1}).model_copy(update={"dp": Dp(noise=noise, clip=0.5)})
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    facts = run_stages(classifier, recipe, ("train",), toy, split, quiet=True).defences["dp"]
    assert (facts["noise_multiplier"], facts["claimed"]) == (noise, False)
    if noise:
        accountant = create_accountant(facts["accountant"])
        accountant.history = [(noise, facts["sample_rate"], facts["steps"])]
        assert facts["epsilon"] == pytest.approx(accountant.get_epsilon(facts["delta"]))
    else:
        assert facts["epsilon"] is None
    line, *rest = DEFENCES["dp"].terminal_lines(facts)
    assert said in line
    assert len(rest) == (noise > 0)
    assert all("which the manifest says" in of_rest for of_rest in rest)
    assert not any("seed of the noise" in of_rest for of_rest in rest)


def drawn_by(toy, split, seed):
    """Weights, and what the proof does not cover."""
    recipe = RECIPE.with_changes(train={"epochs": 1}).model_copy(update={"dp": Dp(epsilon=0.5, seed=seed)})
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    facts = run_stages(classifier, recipe, ("train",), toy, split, quiet=True).defences["dp"]
    return weights_of(classifier), facts["not_covered"]


def test_nobody_can_draw_the_noise_again_unless_a_seed_is_asked_for(toy, split):
    (one, said), (other, _) = (drawn_by(toy, split, None) for _ in range(2))
    assert not torch.equal(one, other)
    assert not any("seed" in part for part in said)
    (one, said), (other, _) = (drawn_by(toy, split, 3) for _ in range(2))
    assert torch.equal(one, other)
    assert "an attacker who knows the seed of the noise (3)" in said
    assert not torch.equal(one, drawn_by(toy, split, 4)[0])


@pytest.mark.parametrize(
    "sections",
    [
        {"train": {"augment": "crop"}},
        {"train": {"adversarial": True}, "adversary": {"method": "pgd", "steps": 1, "eps": 0.3}},
        {"model": {"name": "dropout_net:build", "args": {}}},
    ],
    ids=["augmentation", "starts of attacks", "dropout"],
)
def test_what_else_a_private_stage_draws_is_as_secret(toy, split, sections):
    """Drawn by place in the batch from a stream that somebody knows, it would let one member change the others' gradients."""
    whole = Recipe(
        model=sections.get("model", RECIPE.model.model_dump()),
        train={"epochs": 1, "batch_size": 1000, "lr": 0.01, **sections.get("train", {})},
        **{name: section for name, section in sections.items() if name not in ("train", "model")},
    )

    def weights(seed):
        # All members are in the one batch, and there is no noise.
        recipe = whole.model_copy(update={"dp": Dp(noise=0.0, seed=seed)})
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        run_stages(classifier, recipe, ("train",), toy, split, quiet=True)
        return weights_of(classifier)

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(None), weights(None))


def test_a_secret_generator_has_a_state_that_no_seed_makes():
    one, other = secret(), secret()
    kept = one.get_state()
    drawn = torch.rand(10_000, generator=one)
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 1e-6
    assert not torch.equal(drawn, torch.rand(10_000, generator=other))
    one.set_state(kept)
    assert torch.equal(drawn, torch.rand(10_000, generator=one))
    twister = kept[24 : 24 + 8 * 624].numpy().view(np.uint64)
    assert 2**31 < twister.max() < 2**32
    assert len(set(twister.tolist())) > 600


def test_a_run_does_not_go_on_with_the_draws_of_another_seed(toy, split):
    classifier = new_classifier(RECIPE, toy.num_classes, toy.input_shape)
    recipes = [RECIPE.model_copy(update={"dp": Dp(epsilon=4.0, seed=seed)}) for seed in (None, 1, 2)]
    assert len({key_of(classifier, recipe, ("train",), toy, split) for recipe in recipes}) == 3
    assert len({recipe.training_hash() for recipe in recipes}) == 1  # reference models are worth the same


def test_stages_share_no_draws():
    """The accountant composes them as independent: with equal noise one stage's would cancel the other's."""
    recipe = RECIPE.with_changes(qat={"epochs": 1}, quantize={"bits": 4}, dp={"total": 8.0})
    drawn = []
    for stage in ("train", "qat"):
        (objective,) = (own for own in objectives_of(Asked(recipe, stage, (3, 8, 8))) if own.name == "dp")
        network = nn.Linear(30, 20)
        (chosen,) = next(zip(objective.batches(1000)))
        objective.finished(network, 1000)
        noise = network.weight.grad.flatten()
        drawn.append((chosen, noise / noise.std()))
    (first, noise), (second, again) = drawn
    assert first.tolist() != second.tolist()
    assert abs(float(torch.corrcoef(torch.stack([noise, again]))[0, 1])) < 0.2


@pytest.mark.parametrize("generator", [None, torch.Generator().manual_seed(1)], ids=["operating system", "seeded"])
def test_noise_is_gaussian(generator):
    noise = normal(torch.Size([333, 301]), 2.0, generator)
    assert (noise.shape, noise.dtype) == ((333, 301), torch.float64)
    assert stats.kstest(noise.flatten().numpy() / 2, "norm").pvalue > 1e-6
    assert abs(float(noise.mean())) < 0.05
    halves = noise.flatten()[: 333 * 301 // 2 * 2].chunk(2)  # two numbers of one draw are independent
    assert abs(float(torch.corrcoef(torch.stack(halves))[0, 1])) < 0.03
    assert [normal(torch.Size(size), 1.0, generator).shape for size in ([], [0], [3])] == [(), (0,), (3,)]
    numbers = uniform(10_000, generator)
    assert stats.kstest(numbers.numpy(), "uniform").pvalue > 1e-6
    assert 0 <= float(numbers.min()) < float(numbers.max()) < 1


def test_a_killed_run_goes_on_with_draws_of_its_own(toy, split, tmp_path, dies_after):
    recipe = RECIPE.model_copy(update={"dp": Dp(epsilon=4.0)})

    def run(resume_file=None):
        classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
        return run_stages(classifier, recipe, ("train",), toy, split, resume_file=resume_file, quiet=True)

    dies_after(2, run, tmp_path / "p")
    done = run(tmp_path / "p")
    assert [row["epoch"] for row in done.history] == [1, 2, 3]
    assert done.defences["dp"]["epsilon"] <= 4.0


@pytest.mark.parametrize(
    ("asked", "delta"),
    [({"noise": 1.0}, 1e-16), ({"epsilon": 3.0}, 1e-16), ({"epsilon": 30.0}, 1e-16), ({"epsilon": 0.05}, 1e-5)],
)
def test_what_one_accountant_cannot_resolve_another_one_bounds(asked, delta):
    plan = plan_of(Dp(delta=delta, **asked), Stage(epochs=1, batch_size=64), 180)
    spent = plan.spent(1)
    assert spent["accountant"] == "rdp"
    assert 0 < spent["epsilon"] <= asked.get("epsilon", 100)


def test_what_was_learnt_of_a_table_is_said_to_be_outside_the_proof(tmp_path):
    path, drawn = tmp_path / "t.csv", np.random.default_rng(0)
    rows = [f"{age},{'ill' if age > 50 else 'well'}" for age in drawn.integers(20, 80, 200)]
    path.write_text("\n".join(["age,diagnosis", *rows]))
    table = load(f"csv:{path}", asked=Data(label="diagnosis"))
    split = make_split(table, Data(), 0)
    table = fitted(table, split.members)
    recipe = RECIPE.with_changes(model={"name": "mlp", "args": {"widths": [4]}}, train={"epochs": 1})
    classifier = new_classifier(recipe, table.num_classes, table.input_shape)
    facts = run_stages(classifier, recipe, ("train",), table, split, quiet=True).defences["dp"]
    assert "table's columns, which were learnt from the members" in facts["not_covered"][0]
    assert "does not cover the categories" in DEFENCES["dp"].terminal_lines(facts)[1]


def test_a_budget_that_no_noise_keeps_is_refused():
    with pytest.raises(UserError, match="larger epsilon"):
        plan_of(Dp(epsilon=1e-7, delta=1e-12), Stage(epochs=10, batch_size=100), 1000)


def test_a_delta_that_promises_nothing_is_refused():
    with pytest.raises(UserError, match="not below 1 / members"):
        plan_of(Dp(epsilon=3.0, delta=0.5), Stage(epochs=1, batch_size=100), 1000)


def test_layers_that_mix_examples_are_refused_before_training(toy, split):
    recipe = Recipe.model_validate(RECIPE.model_dump() | {"model": {"name": "resnet20"}})
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    with pytest.raises(UserError, match=r"bn1 \(BatchNorm2d\).*--norm group; trained weights rely on"):
        run_stages(classifier, recipe, ("train",), toy, split, quiet=True)
    with pytest.raises(UserError, match="BatchNorm1d"):  # without weights of its own it still mixes
        refuse_unsupported(nn.Sequential(nn.BatchNorm1d(3, affine=False)))


class Sharing(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(4, 4)
        self.b = self.a
        self.c = torch.nn.Linear(4, 4)
        self.c.weight = self.a.weight


def test_shared_weights_are_refused():
    with pytest.raises(UserError, match=r"a.weight and b.weight and c.weight are one parameter"):
        refuse_unsupported(Sharing())


class Sequences(nn.Module):
    """[N, 6, 4] -> logits [N, 3], by one layer that reads a sequence."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        made = {
            "lstm": lambda: nn.LSTM(4, 4, num_layers=2, batch_first=True),
            "attention": lambda: nn.MultiheadAttention(4, 2, batch_first=True),
            "transformer": lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True),
        }
        self.layer, self.last = made[kind](), nn.Linear(4, 3)

    def forward(self, x):
        inputs = (x, x, x) if self.kind == "attention" else (x,)
        read = self.layer(*inputs)
        return self.last((read if self.kind == "transformer" else read[0]).mean(1))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
def test_layers_that_read_sequences_have_a_gradient_of_each_example(kind):
    torch.manual_seed(0)
    network = Sequences(kind).train()
    refuse_unsupported(network)
    x, y = torch.randn(6, 6, 4), torch.randint(3, (6,))
    total, norms = by_hand(network, dict, x, y, QUIET.clip)
    assert max(norms) > QUIET.clip
    add_clipped_gradients(network, {}, x, y, QUIET)
    for parameter, expected in zip(network.parameters(), total, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layer", [nn.GRU(4, 4), nn.RNN(4, 4)])
def test_a_layer_without_one_is_refused_by_name(layer):
    with pytest.raises(UserError, match=r"layer 0 \((GRU|RNN)\).*nn.LSTM in its place can be"):
        refuse_unsupported(nn.Sequential(layer))


@pytest.fixture
def factories(tmp_path, monkeypatch):
    """Networks of the user's own code, with batch normalization: new ones, and one with weights of its own."""
    (tmp_path / "ward_nets.py").write_text(
        "import torch\n"
        "def new(num_classes, input_shape):\n"
        "    flat = torch.nn.Flatten()\n"
        "    size = torch.Size(input_shape).numel()\n"
        "    return torch.nn.Sequential(flat, torch.nn.Linear(size, 8), torch.nn.BatchNorm1d(8), "
        "torch.nn.Linear(8, num_classes))\n"
        "def trained(num_classes, input_shape):\n"
        "    network = new(num_classes, input_shape)\n"
        "    generator = torch.Generator().manual_seed(5)\n"
        "    network[1].weight.data.normal_(generator=generator)\n"
        "    return network\n"
        "def plain(num_classes, input_shape):\n"
        "    network = trained(num_classes, input_shape)\n"
        "    network[2] = torch.nn.ReLU()\n"
        "    return network\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("asked", [{"dp": {"epsilon": 1.0}}, {"model": {"norm": "group"}}])
def test_trained_weights_of_own_code_keep_their_batch_normalization(toy, factories, asked):
    def changed(name):
        recipe = Recipe(model={"name": f"ward_nets:{name}"}).with_changes(**asked)
        return normalised_for_dp(recipe, toy.num_classes, toy.input_shape)[0].model.norm

    assert changed("new") == "group"
    with pytest.raises(
        UserError, match=r"brings weights along .*\(1.weight\).*rely on their batch normalization \(2\)"
    ):
        changed("trained")


def test_trained_layers_that_are_frozen_keep_it_under_differential_privacy(toy, split, factories):
    recipe = Recipe(model={"name": "ward_nets:trained"}, train={"epochs": 1, "train_last": 1}, dp={"epsilon": 4.0})
    assert normalised_for_dp(recipe, toy.num_classes, toy.input_shape) == (recipe, [])
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    before = classifier.network[2].running_mean.clone()
    facts = run_stages(classifier, recipe, ("train",), toy, split, quiet=True).defences["dp"]
    assert facts["epsilon"] <= 4.0
    assert torch.equal(classifier.network[2].running_mean, before)


@pytest.mark.parametrize(("name", "known"), [("new", False), ("plain", True)])
def test_weights_that_own_code_brings_along_are_said_to_be_outside_the_proof(toy, split, factories, name, known):
    model = {"name": f"ward_nets:{name}", "norm": "group" if name == "new" else "own"}
    recipe = Recipe(model=model, train={"epochs": 1}, dp={"epsilon": 4.0})
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    facts = run_stages(classifier, recipe, ("train",), toy, split, quiet=True).defences["dp"]
    assert any(f"weights that ward_nets:{name} brings along" in part for part in facts["not_covered"]) is known


def test_each_reference_model_is_trained_by_itself():
    assert stackable(Recipe(model={"name": "mlp"}))
    assert not stackable(Recipe(model={"name": "mlp"}, dp={"epsilon": 1.0}))


def test_quantized_fine_tuning_spends_what_training_has_left(toy, split):
    """Both stages are of one accountant's history, and their sum is what was asked for."""
    tuned = {"epochs": 2, "batch_size": 64, "lr": 0.001, "select": "last"}
    recipe = RECIPE.with_changes(
        train={"epochs": 1}, qat=tuned, quantize={"bits": 4, "quantizer": "lsq"}, dp={"epsilon": 2.0, "total": 3.0}
    )
    classifier = new_classifier(recipe, toy.num_classes, toy.input_shape)
    facts = run_stages(classifier, recipe, ("train", "qat"), toy, split, quiet=True).defences["dp"]
    accountant = create_accountant(facts["accountant"])
    accountant.history = [tuple(own.values()) for own in facts["stages"]]
    assert facts["epsilon"] == pytest.approx(accountant.get_epsilon(facts["delta"]))
    assert 2.9 < facts["epsilon"] <= 3.0
    assert [own["steps"] for own in facts["stages"]] == [5, 6]


def test_a_budget_that_training_has_spent_leaves_none():
    recipe = RECIPE.with_changes(qat={"epochs": 2}, dp={"epsilon": 4.0, "total": 3.0})
    with pytest.raises(UserError, match="larger --dp-total-epsilon"):
        later_plan(recipe, "qat", 130)


@pytest.mark.parametrize("name", ["epsilon", "noise", "clip", "total"])
def test_what_is_not_finite_is_refused(name):
    with pytest.raises(UserError, match=f"dp.{name}"):
        parse({"dp": {"epsilon": 8.0} | {name: float("inf")}}, "the options")
