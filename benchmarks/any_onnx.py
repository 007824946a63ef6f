"""Which of torchvision's classifiers are exported as float ONNX files from elsewhere, in three profiles, with parity.

    python benchmarks/any_onnx.py                         # all that build, random weights
    python benchmarks/any_onnx.py resnet18 vit_b_16 --bits 4
    python benchmarks/any_onnx.py --resume                # goes on where it was ended

Each network is written by torch at its native size, or at 96 x 96 where it takes any, read back as a file from anywhere,
packed, and proven against its own float graph. The smallest networks come first. Writes JSON after each: size as a share of
the float file, parity, or why it was refused. A network above --largest parameters is left out by name.
"""

import argparse
import gc
import tempfile
from pathlib import Path
from typing import Any

import onnx
import torch

from edgepriv.artifact.contract import source_of
from edgepriv.artifact.foreign_export import pack_graph, prove_packed
from edgepriv.artifact.foreign_inputs import example_shape, random_examples, read_by
from edgepriv.artifact.session import open_session
from edgepriv.errors import UserError
from edgepriv.files import read_json, write_json
from edgepriv.recipe import Export, Quantize
from edgepriv.torchvision_compat import import_torchvision

PROFILES = ("latency", "memory", "portable")
SMALL = 96
NATIVE = ("alexnet", "vgg", "vit_", "inception", "maxvit", "googlenet")
"""Beginnings of the names of networks that take no other size than their own, or hardly any smaller one, or whose pooling torch
exports at no other."""
INPUTS = 2
LARGEST = 200_000_000
"""Parameters; its float graph, its packed one and two sessions of it are held at once."""


def size_of(name: str) -> int:
    """Pixels along each side that a network is fed."""
    if not name.startswith(NATIVE):
        return SMALL
    return {"vit_h_14": 224, "inception_v3": 299}.get(name, 224)


def tried(name: str, bits: int, folder: Path) -> dict[str, Any]:
    """One network in all profiles: ``size`` and ``parity`` by profile, or ``refused`` with the sentence."""
    models = import_torchvision("models")
    torch.manual_seed(0)
    keywords = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network = models.get_model(name, weights=None, **keywords).eval()
    size, path = size_of(name), folder / f"{name}.onnx"
    torch.onnx.export(network, (torch.zeros(1, 3, size, size),), path, dynamo=False, input_names=["input"])
    del network
    graph, session = onnx.load(path), open_session(path)
    x = random_examples(session, example_shape(source_of(session), None), INPUTS)
    contract, _ = read_by(session, x, None)
    own: dict[str, Any] = {"size_px": size, "float_bytes": path.stat().st_size, "profiles": {}, "refused": {}}
    for profile in PROFILES:
        try:
            packed = pack_graph(graph, Quantize(bits=bits), Export(profile=profile))
            parity, _ = prove_packed(graph, packed, contract, x)
            own["profiles"][profile] = {
                "size": len(packed.content) / own["float_bytes"],
                "max_difference": parity.max_difference,
                "left_float": dict(packed.left_float),
            }
        except UserError as error:
            own["refused"][profile] = str(error)
        gc.collect()
    path.unlink()
    return own


def parameters(name: str) -> int:
    """Parameters of one of torchvision's networks, as its package states them."""
    weights = import_torchvision("models").get_model_weights(name)
    return int(next(iter(weights)).meta["num_params"])


def summary(results: dict[str, Any], bits: int) -> dict[str, Any]:
    """What is written: how many networks were built, how many of them are whole in all profiles, and each."""
    built = [each for each in results.values() if "not_built" not in each]
    whole = sum(not each["refused"] for each in built)
    return {"bits": bits, "built": len(built), "exported": whole, "networks": results}


def main() -> None:
    """The command line."""
    models = import_torchvision("models")
    names = sorted(models.list_models(module=models), key=parameters)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=names)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--largest", type=int, default=LARGEST, help="parameters of the largest network that is tried")
    parser.add_argument("--resume", action="store_true", help="keep the networks that the output holds already")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "any_onnx.json")
    options = parser.parse_args()
    before = read_json(options.output, "benchmark result") if options.resume and options.output.exists() else {}
    results: dict[str, Any] = before["networks"] if before.get("bits") == options.bits else {}
    left_out = [name for name in options.networks if parameters(name) > options.largest]
    for name in options.networks:
        if name in results or name in left_out:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                results[name] = tried(name, options.bits, Path(folder))
            except (UserError, RuntimeError, ValueError) as error:
                results[name] = {"not_built": (str(error).splitlines() or [type(error).__name__])[0]}
        print(name, results[name], flush=True)
        write_json(options.output, summary(results, options.bits))
    told = summary(results, options.bits)
    print(f"{told['exported']} of {told['built']} networks in all of {', '.join(PROFILES)}")
    if left_out:
        print(f"left out, above {options.largest:,} parameters: {', '.join(left_out)}")


if __name__ == "__main__":
    main()
