"""What is said where a model was trained and is not good enough to ship."""

from edgepriv.pipeline._given import go_on
from edgepriv.recipe import Recipe


def test_remedies_are_those_of_the_training():
    plain = go_on(Recipe())
    assert "(more epochs or another learning rate)" in plain
    attacked = Recipe().with_changes(adversary={"method": "pgd"}, robust={"epochs": 2}, quantize={"bits": 4})
    assert "(a smaller --eps, more --bits, more epochs or another learning rate)" in go_on(attacked)
    private = go_on(Recipe().with_changes(dp={"epsilon": 2.0}))
    assert "a larger --dp-epsilon" in private
    assert "what every further training on the same members spends adds up" in private
    assert "--eps" not in private
    noisy = go_on(Recipe().with_changes(dp={"noise": 1.0}, model={"name": "linear", "features": "scattering"}))
    assert "less --dp-noise" in noisy
    assert "scattering" not in noisy
