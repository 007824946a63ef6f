"""The hash counts what the trained weights depend on, and nothing else."""

from pathlib import Path

import pytest

from edgepriv import recipe
from edgepriv.recipe import Recipe

RECIPES = Path(__file__).parents[2] / "recipes"


ADVERSARIAL = Recipe(train={"epochs": 1, "adversarial": True}, adversary={"method": "pgd"})


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"data": {"members": 10}},
        {"model": {"name": "mlp"}},
        {"model": {"args": {"width": 8}}},
        {"train": {"lr": 0.5}},
        {"qat": {"epochs": 1}},
        {"adversary": {"eps": 0.2}},
        {"quantize": {"bits": 4}},
        {"precision": "float32"},
    ],
)
def test_the_hash_counts_what_training_depends_on(change):
    assert ADVERSARIAL.with_changes(**change).training_hash() != ADVERSARIAL.training_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"export": {"profile": "memory"}},
        {"audit": {"references": 2}},
        {"bench": {"runs": 1}},
        {"qat": {"lr": 0.5}},
        {"quantize": {"granularity": "tensor"}},
    ],
)
def test_the_hash_ignores_what_training_does_not_depend_on(change):
    assert ADVERSARIAL.with_changes(**change).training_hash() == ADVERSARIAL.training_hash()


def test_an_unused_adversary_does_not_count():
    clean = Recipe(adversary={"method": "pgd"})
    assert clean.with_changes(adversary={"eps": 0.2}).training_hash() == clean.training_hash()


def test_the_hash_is_stable_across_processes_and_versions():
    """Caches of reference models stand under this hash: a change of it is a change that users pay for."""
    content = Recipe().model_dump(mode="json")
    assert recipe.parse(content, "test").training_hash() == Recipe().training_hash()
    assert len(Recipe().training_hash()) == 64


HASHES = {
    "cifar_cnn.toml": (
        "0eb48d27c7e666a285eff02002ae2df49b4e7998bf4dafe236232fe2cef90af1",
        "0eb48d27c7e666a285eff02002ae2df49b4e7998bf4dafe236232fe2cef90af1",
    ),
    "cifar_resnet20.toml": (
        "d7ae8686aee2eb9c6aa39cb018c3d9e031485948c4edbe3ee9304d70c7344e30",
        "45a9a944b61f93379a9eb2c7b196c66259dcd3264d5737a25aecc9a90144fea0",
    ),
    "dp_cifar.toml": (
        "60c1f2f6db07b64aa0fae43344444ffcab3199d176407160ec88099f3d370595",
        "996fbe0898ad7dc03458e995010d4f6a8c9b47443b68d342db279b7c64d0e4d7",
    ),
    "dp_fashion.toml": (
        "7de9a7770afe4b4f3ad444a06e8376b8d67b5e19f4d09fbecf1a2278017e78c2",
        "f411feca28adc0c219fb464edede68fea65edcae38f0742209654f7d0f3e807c",
    ),
    "fashion_lenet.toml": (
        "b4c9c2827f3bd58aaf9b5fdf7104f5009bdd9a6994f56475bf08489a07309c62",
        "015253b12f08ff4e2ede29a304cddfaea38ca6a5b4372a6ca4117b91f6b6aabe",
    ),
    "location_mlp.toml": (
        "07f943bfea43533bc69c5115aed5959986bebf747af5f77aa7de2b7651c7907a",
        "7b5b7ecbf0fd662b1bf9a4c8efa63a86acddda7cd7b156b019d531fb5dde751e",
    ),
    "papers/000_lenet.toml": (
        "6116a0f942c621ac3b83c7ddafd738fcff2fae075067a301ef7d6cfd1b9effeb",
        "866603206a514b9ade27b7a83ba7f88fb012bb07f9b1ea448e2a6df12a9224f1",
    ),
    "papers/001_lenet.toml": (
        "7f048cc3f09ed153aeaeafc5112746d4a28a8b09da06f9c2530d7f738a63d44a",
        "866603206a514b9ade27b7a83ba7f88fb012bb07f9b1ea448e2a6df12a9224f1",
    ),
    "papers/001_resnet20.toml": (
        "e210e52699fabd4d950db03f7b82790e4346e7ef945884646dec290532b28cf7",
        "06e6d17a51d01f9edfb8f4f13d3a63e46af43db42bf8236a158b861ce06c6902",
    ),
    "papers/003_cifar100.toml": (
        "b8368a6339851275eb6fa3371149766c89f0174653ce978c4296776e7f584a6d",
        "b8368a6339851275eb6fa3371149766c89f0174653ce978c4296776e7f584a6d",
    ),
    "papers/003_location.toml": (
        "7b5b7ecbf0fd662b1bf9a4c8efa63a86acddda7cd7b156b019d531fb5dde751e",
        "7b5b7ecbf0fd662b1bf9a4c8efa63a86acddda7cd7b156b019d531fb5dde751e",
    ),
    "papers/004_adult.toml": (
        "1ded3173922469dab4288d7f7249e1e111e91137e64a3a23ba56e18ec2c91773",
        "b7d66f680edee5c29e93356c86f74c52e6712531cd4a0b9c3062fe1b0d4d6d11",
    ),
    "papers/004_location.toml": (
        "5c963c7786c7935076435d8832eaf2a3069010712ec4f0a4ce7c50a55d99b9a6",
        "461ed04522636f5e56992bd584cecb1917d0ef2b813c40ac0da1d1d25d4c015e",
    ),
    "quickstart.toml": (
        "42a1c0c3f3543b45a646839fc290d88260fc3db78bdb7ed9244772b1447f843b",
        "fd0930324cf2eed9ea6400f73b75d2a0c39a31ce38791e05da44d8ee22594506",
    ),
    "robust/cifar_resnet20_fgsm.toml": (
        "ea4a517300fe9be1d490df1cc375582e40fd58f1ea308d94dafa17b32345a796",
        "1a3052aab8397378960dd3d79c05705a436b4e5075308fca9a51930c3a106d3b",
    ),
    "robust/cifar_resnet20_mart.toml": (
        "408b9fe4d455788db1da91ad93c168d2a729cdd426095fb603b105dc0f02b9fa",
        "1a3052aab8397378960dd3d79c05705a436b4e5075308fca9a51930c3a106d3b",
    ),
    "robust/cifar_resnet20_pgd.toml": (
        "4abd410b4fbfe798e234ddcb8b77c36949dee808a77d35653efa0e56731564a5",
        "3c4d90f7667903c6253b6e8ad6294ca66c73ca1d2a786f9d7fa5939243d03a21",
    ),
    "robust/cifar_resnet20_trades.toml": (
        "061ad7602507a7843bbb5fa02b8c7d14d14c04817677c11e0f6a9e13b5c7a3b9",
        "1a3052aab8397378960dd3d79c05705a436b4e5075308fca9a51930c3a106d3b",
    ),
    "robust/fashion_nfgsm.toml": (
        "cd64cc3d292b2b06185971f7249027175c419ddf889d043479a9097c998b0d28",
        "45c7f1e3635fce55847016c6d8cf09baef944019d79851dfe1e91a885b5a0827",
    ),
    "robust/fashion_dp_nfgsm.toml": (
        "853bbda980c41539b5a870f41a2adeb7dc88abd33bc3d4fb835342bfcf8983d9",
        "7734fda7c938d1f6ab931a25c1fadc2ec1ccf6ed290a39c9d9522dd2073869a4",
    ),
    "robust/fashion_mart.toml": (
        "294311e00370283f431ec639e51a7811e9a235b28b3abc5a85081ee8ba079b72",
        "eafeffa1f8d1f9019716730127af6c9a579e1d7d5b018a99b3cb4bd44761afa2",
    ),
    "robust/fashion_pgd.toml": (
        "1dce75ddd0d25172b9d407c96aa6c83ce2fa0648e780f56931d2ef3666c4d503",
        "eafeffa1f8d1f9019716730127af6c9a579e1d7d5b018a99b3cb4bd44761afa2",
    ),
    "robust/fashion_trades.toml": (
        "497822b39c22e361fb02163aa613787b518b09f57d1f0fce76ed9e3b3d129d2d",
        "eafeffa1f8d1f9019716730127af6c9a579e1d7d5b018a99b3cb4bd44761afa2",
    ),
}
"""By recipe: hash of its training, and of the training without its defences. Caches and archived audits stand under these."""


@pytest.mark.parametrize("name", HASHES)
def test_the_recipes_of_the_repository_keep_their_hashes(name):
    found = recipe.load(RECIPES / name)
    assert (found.training_hash(), found.undefended().training_hash()) == HASHES[name]


def test_every_recipe_of_the_repository_has_its_hash_here():
    assert {str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.toml")} == HASHES.keys()
