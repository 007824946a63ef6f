"""Group normalization takes the place of batch normalization in a network that is made for differential privacy."""

import pytest
import torch
from torch import nn

from edgepriv.errors import UserError
from edgepriv.models.group_norm import groups_of, with_group_norm
from edgepriv.models.starting import identified
from edgepriv.recipe import Recipe
from edgepriv.training import new_classifier
from edgepriv.training.dp import refuse_unsupported
from edgepriv.training.starting import normalised_for_dp

SHAPE = (3, 16, 16)
PRIVATE = Recipe(model={"name": "resnet20"}, dp={"epsilon": 8.0})


@pytest.mark.parametrize(("channels", "groups"), [(64, 16), (24, 12), (16, 8), (12, 6), (9, 3), (7, 1), (2, 1), (1, 1)])
def test_groups_divide_the_channels_and_hold_two_at_least(channels, groups):
    assert groups_of(channels) == groups
    assert nn.GroupNorm(groups, channels).num_groups == groups


def test_each_example_is_then_answered_by_itself():
    recipe, (note,) = normalised_for_dp(PRIVATE, 10, SHAPE)
    assert "in place of batch normalization (bn1, blocks.0.bn1" in note
    assert recipe.model.norm == "group"
    network = new_classifier(recipe, 10, SHAPE).network.train()
    refuse_unsupported(network)
    x = torch.rand(3, *SHAPE)
    torch.testing.assert_close(network(x)[:1], network(x[:1]), rtol=1e-4, atol=1e-5)


def test_a_network_without_it_stays_as_it_is():
    lenet = PRIVATE.with_changes(model={"name": "lenet"})
    assert normalised_for_dp(lenet, 10, (1, 28, 28)) == (lenet, [])
    plain = Recipe(model={"name": "resnet20"})
    assert normalised_for_dp(plain, 10, SHAPE) == (plain, [])


def test_a_layer_in_several_places_stays_one():
    norm = nn.BatchNorm1d(4, affine=False)
    network = nn.Sequential(nn.Linear(2, 4), norm, nn.Linear(4, 4), norm, nn.BatchNorm1d(1))
    assert with_group_norm(network) == ["1", "3"]
    assert network[1] is network[3]
    assert isinstance(network[4], nn.BatchNorm1d)  # of one number nothing would be left


class NormAndRelu(nn.BatchNorm1d):
    """As timm has them: the activation is inside."""

    def forward(self, x):
        return super().forward(x).relu()


def test_a_normalization_that_does_more_is_refused_rather_than_replaced():
    network = nn.Sequential(nn.Linear(2, 4), NormAndRelu(4))
    assert with_group_norm(network) == []
    with pytest.raises(UserError, match=r"layer 1 \(NormAndRelu\) cannot be trained"):
        refuse_unsupported(network)


def test_weights_that_were_trained_with_batches_are_refused(tmp_path):
    trained = new_classifier(Recipe(model={"name": "resnet20"}), 10, SHAPE).network
    torch.save(trained.state_dict(), tmp_path / "public.pt")
    recipe = identified(PRIVATE.with_changes(start={"path": str(tmp_path / "public.pt")}))
    assert normalised_for_dp(recipe, 10, SHAPE) == (recipe, [])
    with pytest.raises(UserError, match="trained with batch normalization, and its weights rely on that"):
        new_classifier(recipe.with_changes(model={"norm": "group"}), 10, SHAPE)
    with pytest.raises(UserError, match=r"--freeze, --train-last"):
        refuse_unsupported(new_classifier(recipe, 10, SHAPE).network)
