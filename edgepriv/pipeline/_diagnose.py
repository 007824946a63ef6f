"""What quantization costs a file, layer by layer, against the float network that it was made from."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgepriv import data
from edgepriv.artifact.build import build_graph
from edgepriv.artifact.contract import Contract, source_of
from edgepriv.artifact.deployed import DeployedModel
from edgepriv.artifact.diagnosis import diagnosed
from edgepriv.artifact.foreign_inputs import given_examples, read_by
from edgepriv.artifact.layer_pairs import Side
from edgepriv.artifact.session import check_contract, is_ours, started
from edgepriv.errors import UserError
from edgepriv.models import checkpoint
from edgepriv.models.reading import is_of_tensors, load_tensors
from edgepriv.pipeline._given import named
from edgepriv.project import recorded_data
from edgepriv.recipe import Export, rounded_stages

_EXAMPLES = 2_000
_PROBED = 64


# One argument for each option of `edgepriv show` that means something with --against.
def diagnose(
    path: Path,
    against: Path,
    *,
    data_name: str | None = None,
    data_dir: Path | None = None,
    output_name: str | None = None,
    factory: str | None = None,
) -> dict[str, Any]:
    """Compare a quantized file with its float network.

    Args:
        path: the quantized .onnx.
        against: the float .onnx, or the checkpoint that the file was exported from.
        data_name: examples; None for the held-out ones of the data that the manifest names.
        data_dir: folder with data sets; None for the user's cache folder.
        output_name: the output with the scores of the classes, of files from elsewhere; None to decide.
        factory: the user's own ``package.module:factory``, of a checkpoint of such a network.

    Returns:
        As ``diagnosis.diagnosed``, with ``against`` and ``inputs``.

    Raises:
        UserError: for files that are not of one network, and without examples.
    """
    if path.suffix != ".onnx":
        raise UserError(f"--against compares a quantized .onnx with its float network, and {path} is none")
    deployed = DeployedModel.open(path)
    x, y, groups, told = _examples(deployed, data_name, data_dir)
    float_graph, notes = _float_graph(against, factory)
    graph = deployed.graph
    if deployed.head is not None or deployed.chooses_label:
        graph = deployed.cut_open().graph
        notes.append("both are compared without what stands behind the network: a head, or the choice of the label")
    sides: list[Side] = []
    for model, name in ((graph, str(path)), (float_graph, str(against))):
        contract, read = _read(model, name, x, y, output_name)
        sides.append(Side(model, contract, name))
        notes += read
    own, floating = sides
    _refuse_other(own, floating, y)
    result = diagnosed(own, floating, deployed.layers, x, y, groups)
    if deployed.metadata.get("compute", "float32") != "float32":
        notes.append(
            f"the file computes {deployed.metadata['compute']}: a layer alone has its weights quantized, and what 8-bit "
            "activations add is in the accumulated ratio and the accuracy of the whole file"
        )
    return {"against": str(against), "inputs": told} | result | {"notes": notes + result["notes"]}


def _examples(
    deployed: DeployedModel, name: str | None, data_dir: Path | None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, str]:
    """Inputs as ``predict`` takes them, their classes, whose they are, and what they are in words."""
    record = None if deployed.manifest is None else deployed.manifest.data
    if record is not None and (name is None or data.canonical_name(name) == record["name"]):
        dataset, split = recorded_data(record, data_dir, str(deployed.path))
        return _drawn(dataset, dataset.y, split.non_members, f"held-out examples of {dataset.name}")
    if name is None:
        raise UserError(
            f"nothing says what data {deployed.path} is for: pass --data, such as an .npz with x as the model takes it and the "
            "labels y if known"
        )
    file = Path(name.removeprefix("npz:"))
    if file.suffix == ".npz" and (not deployed.is_ours or _as_taken(file)):
        if not file.is_file():
            raise UserError(f"no such file: {file}")
        x, y = given_examples(file, source_of(deployed.session))
        return x[:_EXAMPLES], None if y is None else y[:_EXAMPLES], None, f"{min(len(x), _EXAMPLES):,} inputs of {file}"
    if not deployed.is_ours:
        raise UserError(
            f"--data {name}: with a file from elsewhere it names an .npz, with x exactly as the model takes it and the labels "
            "y if known"
        )
    dataset = data.load(f"npz:{file}" if file.suffix == ".npz" else name, data_dir, encoding=deployed.table)
    return _drawn(dataset, _classes(deployed, dataset), np.arange(len(dataset)), f"examples of {dataset.name}")


def _as_taken(file: Path) -> bool:
    """Whether an .npz holds numbers as a network takes them, or nothing to tell classes by, rather than pictures of bytes."""
    arrays = data.read_arrays(file) if file.is_file() else {}
    return not arrays or "y" not in arrays or ("x" in arrays and arrays["x"].dtype.kind == "f")


def _drawn(
    dataset: data.Dataset, y: np.ndarray, index: np.ndarray, told: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    drawn = np.sort(np.random.default_rng(0).permutation(index)[:_EXAMPLES])
    groups = None if dataset.groups is None else dataset.groups[drawn]
    return dataset.inputs(drawn), y[drawn], groups, f"{len(drawn):,} {told}"


def _classes(deployed: DeployedModel, dataset: data.Dataset) -> np.ndarray:
    """The labels of data as the file counts its classes."""
    names = deployed.class_names or dataset.class_names
    strange = [name for name in dataset.class_names if name not in names]
    if strange:
        raise UserError(
            f"{dataset.name} has classes that {deployed.path} does not know ({', '.join(strange[:4])}): its own are "
            f"{', '.join(names[:8])}"
        )
    places: np.ndarray = np.array([names.index(name) for name in dataset.class_names], np.int64)[dataset.y]
    return places


def _float_graph(against: Path, factory: str | None) -> tuple[onnx.ModelProto, list[str]]:
    """The float network: of an .onnx, or of the float weights of a checkpoint; and what there is to know of these."""
    if not against.is_file():
        raise UserError(f"no such file: {against}")
    if not is_of_tensors(against):
        model = DeployedModel.open(against)
        return (model.cut_open().graph if model.head is not None or model.chooses_label else model.graph), []
    if not checkpoint.is_checkpoint(load_tensors(against)):
        raise UserError(f"{against} is a bare state_dict: export it with --bits 32, and give the .onnx")
    saved = checkpoint.load(against, named(factory))
    built = build_graph(
        saved.classifier(),
        {},
        input_shape=saved.input_shape,
        class_names=saved.class_names,
        settings=Export(input=saved.recipe.export.input),
    )
    rounded = rounded_stages(saved.recipe, saved.stages)
    note = (
        f"{against} was trained with rounded weights ({', '.join(rounded)}): the float weights behind them are a by-product, "
        "and may be less accurate than the file. What rounding cost, that training included, is in the file's manifest"
    )
    return onnx.load_from_string(built.content), [note] if rounded else []


def _read(
    model: onnx.ModelProto, name: str, x: np.ndarray, y: np.ndarray | None, output_name: str | None
) -> tuple[Contract, list[str]]:
    session = started(model.SerializeToString(), name)
    source = source_of(session)
    fits = len(source.row_shape) == x.ndim - 1 and all(
        size in (None, own) for size, own in zip(source.row_shape, x.shape[1:], strict=True)
    )
    if not fits:
        wanted = ", ".join(["N", *("any" if size is None else str(size) for size in source.row_shape)])
        raise UserError(
            f"{name} takes [{wanted}], but the examples have {list(x.shape)}: the files are not of one network"
        )
    if is_ours(session):
        return check_contract(session, x[:_PROBED]), []
    return read_by(session, x[:_PROBED], output_name, None if y is None else y[:_PROBED])


def _refuse_other(deployed: Side, floating: Side, y: np.ndarray | None) -> None:
    classes = deployed.contract.classes, floating.contract.classes
    if classes[0] != classes[1]:
        raise UserError(
            f"{deployed.name} and {floating.name} are not of one network: {classes[0]} classes against {classes[1]}"
        )
    batches = deployed.contract.fixed_batch, floating.contract.fixed_batch
    if None not in batches and batches[0] != batches[1]:
        raise UserError(
            f"{deployed.name} takes {batches[0]} inputs at a time, {floating.name} {batches[1]}: export both alike"
        )
    if y is not None and y.max(initial=0) >= classes[0]:
        raise UserError(f"the labels go up to {y.max()}, but the model has {classes[0]} classes")
