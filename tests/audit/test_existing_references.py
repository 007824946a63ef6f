"""Reference models that exist already: used as they are, once nothing that is said of them has been contradicted."""

from types import SimpleNamespace

import numpy as np
import pytest
from interpolating import CLASSES, RECORDS, World, halves, rows_of

from edgepriv import pipeline
from edgepriv.errors import UserError

COUNT = 8
TRAINED = ("lira-online", "rmia-offline", "difficulty-calibration")
CHANGES = {"audit": {"robust": "none", "queried_examples": 20, "attacks": ",".join(("loss", *TRAINED))}}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a target, its member files and eight references as refs.npz holds them."""
    folder, world = tmp_path_factory.mktemp("existing"), World.of()
    target = world.solved(world.members, seed=100)
    member = halves(COUNT)
    weights = [world.solved(own, seed=r) for r, own in enumerate(member)]
    arrays = {
        "logits": np.stack([world.logits(own) for own in weights]),
        "member": member,
        "labels": world.y,
        "target": world.logits(target),
    }
    return SimpleNamespace(
        folder=folder,
        world=world,
        model=world.save(folder / "target.onnx", target),
        files=world.files(folder),
        weights=weights,
        arrays=arrays,
    )


@pytest.fixture
def audited(given, tmp_path):
    """The audit by references in an .npz: those of ``given`` without the arrays ``without``, with others in their place."""

    def audited(*without, attacks=None, audit=None, **other):
        arrays = {key: value for key, value in given.arrays.items() if key not in without} | other
        np.savez(tmp_path / "refs.npz", **arrays)
        changes = {"audit": CHANGES["audit"] | (audit or {})}
        return run(given, tmp_path, changes, reference_scores=tmp_path / "refs.npz")

    return audited


def run(given, folder, changes=CHANGES, **options):
    return pipeline.audit(given.model, changes, output=folder / "a.json", force=True, **given.files, **options)


@pytest.fixture(scope="module")
def plain(given):
    """The audit by the references of ``given``, whole."""
    folder = given.folder / "plain"
    folder.mkdir()
    np.savez(folder / "refs.npz", **given.arrays)
    return run(given, folder, reference_scores=folder / "refs.npz")


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_answers_and_memberships_are_enough_for_the_strong_attacks(audited, plain):
    found = rows_of(plain, ("loss", *TRAINED))
    assert found["lira-online"] > 0.95
    assert set(found) == {"loss", *TRAINED}
    assert {row["threat_model"] for row in plain["attacks"]} == {"adaptive"}
    assert plain["references"] == COUNT
    assert plain["reference_records"] == RECORDS
    assert any("taken for models trained as the audited model was" in line for line in plain["said"])
    assert plain["settings"]["brought"]["reference-scores"].endswith("refs.npz")
    assert rows_of(audited("target", "labels"), TRAINED) == pytest.approx({name: found[name] for name in TRAINED})


def test_what_asks_for_models_that_are_not_trained_is_said_to_be_unused(audited):
    content = audited(audit={"references": 3, "engine": "dask:tcp://127.0.0.1:1", "attacks": "loss,rmia-offline"})
    assert any("--references and --engine not used: the reference models in" in line for line in content["said"])
    assert content["references"] == COUNT


def test_probabilities_and_an_index_say_the_same(audited, given, plain):
    order = np.random.default_rng(0).permutation(2 * RECORDS)
    logits = given.arrays["logits"][:, order]
    mixed = {"member": given.arrays["member"][:, order], "index": order}
    assert rows_of(
        audited("logits", "labels", "target", probabilities=softmax(logits), **mixed), TRAINED
    ) == pytest.approx(rows_of(plain, TRAINED))


def test_the_models_themselves_give_the_figures_of_their_answers(given, plain, tmp_path):
    folder = tmp_path / "models"
    for r, weights in enumerate(given.weights):
        (folder / f"{r}").mkdir(parents=True)
        given.world.save(folder / f"{r}" / "model.onnx", weights)
        own = given.arrays["member"][r]
        np.save(folder / f"{r}" / "members.npy", own if r % 2 else np.flatnonzero(own))
    content = run(given, tmp_path, reference_models=folder)
    assert rows_of(content, TRAINED) == pytest.approx(rows_of(plain, TRAINED), abs=1e-6)
    np.save(folder / "0" / "members.npy", given.arrays["member"][0][:-1])
    with pytest.raises(UserError, match="says of 319 records whether they are inside, but there are 320"):
        run(given, tmp_path, reference_models=folder)
    (folder / "0" / "members.npy").write_bytes(b"PK\x03\x04, but no archive")
    with pytest.raises(UserError, match="not a readable"):
        run(given, tmp_path, reference_models=folder)
    (folder / "0" / "members.npy").unlink()
    with pytest.raises(UserError, match=r"model.onnx has no model.members.npy beside it \(nor members.npy"):
        run(given, tmp_path, reference_models=folder)


def test_references_trained_on_other_records_leave_the_online_attack_out(audited, given):
    world = World.of(4 * RECORDS)
    member = np.concatenate([np.zeros((COUNT, 2 * RECORDS), bool), halves(COUNT)], axis=1)
    logits = np.stack([world.logits(world.solved(own, seed=r)) for r, own in enumerate(member)])[:, : 2 * RECORDS]
    content = audited(logits=logits, member=member[:, : 2 * RECORDS])
    assert rows_of(content, TRAINED).keys() == {"rmia-offline", "difficulty-calibration"}
    assert {row["name"] for row in content["left_out"]} == {"lira-online"}


def rolled(arrays):
    return {"logits": np.roll(arrays["logits"], 7, axis=1), "member": np.roll(arrays["member"], 7, axis=1)}


def with_one(array, value):
    array = array.copy()
    array[(0,) * array.ndim] = value
    return array


WRONG = {
    "columns in another order, labels said": (("target",), rolled, "no better than guessing"),
    "two classes swapped": ((), lambda a: {"logits": a["logits"][:, :, [1, 0, 2, 3]]}, "has its classes in another order"),
    "no records": ((), lambda a: {"logits": a["logits"][:, :0], "index": np.empty(0, int)}, "nothing to compare"),
    "another K": ((), lambda a: {"logits": a["logits"][:, :, :3]}, "have 3 classes, the audited model 4"),
    "another n": ((), lambda a: {"logits": a["logits"][:, :-1]}, "is about 319 records, but there are 320"),
    "another R": ((), lambda a: {"member": a["member"][:-1]}, r"member must be \[8, 320\]"),
    "NaN": ((), lambda a: {"logits": with_one(a["logits"], np.nan)}, r"logits\[0\] holds NaN or infinity"),
    "a share": ((), lambda a: {"member": a["member"] * 0.5}, "member must be true or false, or 1 or 0"),
    "logits that are probabilities": ((), lambda a: {"logits": softmax(a["logits"])}, "is probabilities already"),
    "logits behind a sigmoid": ((), lambda a: {"logits": 1 / (1 + np.exp(-a["logits"]))}, "as answers behind a sigmoid do"),
    "probabilities that are logits": (("logits",), lambda a: {"probabilities": a["logits"]}, "is no probabilities"),
    "both kinds": ((), lambda a: {"probabilities": softmax(a["logits"])}, "several of logits, probabilities"),
    "no membership": (("member",), lambda a: {}, "none of them is member or members or membership"),
    "other labels": ((), lambda a: {"labels": np.roll(a["labels"], 1)}, "labels are not those of the data: list"),
    "another target": ((), lambda a: {"target": np.roll(a["target"], 1, axis=0)}, "answers otherwise than target says for"),
    "another target's members": ((), lambda a: {"target_member": np.arange(2 * RECORDS) >= RECORDS}, "target_member is wrong"),
    "one model": ((), lambda a: {"logits": a["logits"][:1], "member": a["member"][:1]}, "holds 1 reference model"),
    "trained on all": ((), lambda a: {"member": np.ones_like(a["member"])}, "reference 0 was trained on every record"),
    "the same model twice": ((), lambda a: {"logits": a["logits"][[0, 0, 2, 3, 4, 5, 6, 7]]}, "1 and reference 0 are the same"),
    "the target itself": ((), lambda a: {"logits": np.concatenate([a["logits"][:-1], a["target"][None]])}, "the audited model"),
    "members turned round": ((), lambda a: {"member": ~a["member"]}, "memberships are inverted"),
    "members of other models": ((), lambda a: {"member": halves(COUNT, seed=9)}, "no surer of records that they"),
    "an index that repeats": ((), lambda a: {"index": np.zeros(2 * RECORDS, int)}, "index names a record twice"),
    "only members": (
        (),
        lambda a: {"member": a["member"] & (np.arange(2 * RECORDS) < RECORDS)},
        "trained on 50% of the target's members but on 0% of its non-members",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_contradicts_itself_the_data_or_the_target_is_refused(audited, given, wrong):
    without, changed, said = WRONG[wrong]
    with pytest.raises(UserError, match=said):
        audited(*without, **changed(given.arrays))


def test_columns_in_another_order_inside_a_class_are_recognised(audited, given):
    """Every label stays what it is, and so does what each reference knows: only the target tells the records apart."""
    rng, order = np.random.default_rng(0), np.arange(2 * RECORDS)
    for label in range(CLASSES):
        for side in (given.world.members, ~given.world.members):
            own = np.flatnonzero((given.world.y == label) & side)
            order[own] = rng.permutation(own)
    mixed = {name: given.arrays[name][:, order] for name in ("logits", "member")}
    with pytest.raises(UserError, match=r"do not show that its columns are in the order of the data.*add labels"):
        audited("target", "labels", **mixed)
    assert any("its labels are those of the data" in line for line in audited("target", **mixed)["warnings"])


def test_persons_that_reference_models_split_are_said(given, tmp_path):
    world, persons = given.world, np.arange(2 * RECORDS) // 2
    files = {}
    for name, part in (("members", world.members), ("non_members", ~world.members)):
        files[name] = tmp_path / f"{name}.npz"
        np.savez(files[name], x=world.x[part], y=world.y[part], patient_id=persons[part])
    whole = np.repeat(halves(COUNT, RECORDS), 2, axis=1)
    drawn = {"by_record": given.arrays["member"], "by_person": whole}
    warnings = {}
    for name, member in drawn.items():
        logits = np.stack([world.logits(world.solved(own, seed=r)) for r, own in enumerate(member)])
        scores = tmp_path / f"{name}.npz"
        np.savez(scores, **given.arrays | {"logits": logits, "member": member})
        changes = {"audit": CHANGES["audit"] | {"attacks": "loss,rmia-offline"}}
        content = pipeline.audit(
            given.model, changes, output=tmp_path / "a.json", force=True, reference_scores=scores, **files
        )
        warnings[name] = [line for line in content["warnings"] if "persons were split by reference models" in line]
    split = (drawn["by_record"][:, ::2] != drawn["by_record"][:, 1::2]).any(axis=0).sum()
    assert [line.partition(" persons")[0] for line in warnings["by_record"]] == [f"{split} of {RECORDS}"]
    assert warnings["by_person"] == []


def test_models_of_another_size_are_said(audited, given):
    world, member = given.world, halves(COUNT) & (np.random.default_rng(3).random((COUNT, 2 * RECORDS)) < 0.7)
    logits = np.stack([world.logits(world.solved(own, seed=r)) for r, own in enumerate(member)])
    content = audited(logits=logits, member=member, audit={"accept_weak_references": True})
    assert any("the target on 160: models that know fewer or more" in line for line in content["warnings"])


def test_they_are_refused_where_no_attack_needs_them(audited):
    with pytest.raises(UserError, match="none of the attacks has a use for the reference models in"):
        audited(audit={"attacks": "quick"})
