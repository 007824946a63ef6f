"""Size, speed and memory of the files that we write, beside their float twin and what other tools make of the same network.

    python benchmarks/deploy.py [NETWORK ...] [--resume] [--markdown]     about half an hour on two quiet cores
    python benchmarks/deploy.py --sizes [TORCHVISION NETWORK ...]         sizes at 2, 3, 4, 6 and 8 bits, nothing timed

Variants (variants.py, peers.py):
    float                float32, batch normalizations folded: the twin that every ratio refers to
    latency, memory,     our profiles; -int8 lets packed layers quantize their activations
    portable                 at inference (here, without calibration, dynamically); latency-int8-static on fixed grids
    naive-qdq            DequantizeLinear before each weight of the unfolded graph that torch.onnx exports
    ort-dynamic-int8     onnxruntime.quantization.quantize_dynamic after quant_pre_process
    ort-static-int8      onnxruntime.quantization.quantize_static: QDQ, a scale for each channel
    ort-matmul-4bit      onnxruntime's MatMulNBitsQuantizer, which leaves every Conv in float32
    openvino-*           OpenVINO running our float and portable files, and its own 4-bit weight compression (NNCF: Conv at
                         8 bits) and post-training int8; packages openvino and nncf are optional
    litert-*             LiteRT running its own conversion of the network, in float32 and as post-training int8; packages
                         litert-torch, ai-edge-quantizer and ai-edge-litert are optional; one example at a time

What calibrates (static int8, ours and the peers') sees the same 40 of the random inputs.

Every variant is measured in fresh processes, all variants in turn, each round in the other direction. How many inferences
a process times depends on how long the float twin takes for one (--seconds), and is the same for all variants.
``label_agreement`` and ``max_difference`` compare what a variant computes with the float network. Weights are random and
rounded as they are, without the quantization-aware epochs of ``edgepriv harden``: look at differences among variants of
the same width only. Results are written after each network; --resume keeps the networks measured with the same options.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy_tables import markdown, network_tables, sizes_table, skipped_table, targets_table
from rich.console import Console
from sizes import NAMES, sizes_of
from targets import targets
from variants import NETWORKS, TIMERS, VARIANTS, agreement, answers, reason_of, subject_of, written

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.errors import UserError
from edgepriv.files import read_json, write_json
from edgepriv.measure.bench import bench
from edgepriv.recipe import Quantize

WARMUP = 20
PILOT_RUNS = 3


def measured(name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """All variants of one network: ``files``, ``skipped``, and the rows of ``bench`` for every setting."""
    subject = subject_of(NETWORKS[name], Quantize.model_validate({"bits": asked["bits"]}), asked["inputs"])
    with tempfile.TemporaryDirectory() as folder:
        paths, skipped = written(subject, asked["variants"], Path(folder))
        if "float" not in paths:
            raise UserError(f"{name}: the float twin, which all is compared with, fails: {skipped['float']}")
        expected = answers("float", paths["float"], subject.x)
        quality = {}
        for variant, path in list(paths.items()):
            try:
                quality[variant] = agreement(expected, answers(variant, path, subject.x))
            except Exception as error:  # a runtime refuses a file with exceptions of its own
                skipped[variant] = f"cannot be run: {reason_of(error)}"
                del paths[variant]
        result = timed(name, paths, asked)
    sizes = {row["name"]: row["size_bytes"] for row in result["variants"]}
    files = {variant: {"bytes": sizes[variant]} | quality[variant] for variant in paths}
    return {"asked": dict(asked), "files": files, "skipped": skipped} | result


def timed(name: str, paths: Mapping[str, Path], asked: Mapping[str, Any]) -> dict[str, Any]:
    """``bench`` setting by setting, since the number of runs depends on it."""
    timers = {variant: TIMERS[VARIANTS[variant].runtime] for variant in paths if VARIANTS[variant].runtime}
    models = {variant: DeployedModel.open(path) for variant, path in paths.items()}
    result: dict[str, Any] = {"settings": [], "variants": [], "ratios": []}
    for threads in asked["threads"]:
        for batch in asked["batch"]:
            at = {"batches": [batch], "threads": [threads]}
            pilot = bench({"float": models["float"]}, **at, runs=PILOT_RUNS, rounds=1, warmup=1)
            per_run = pilot["variants"][0]["latency_ms"]["p50"] / 1e3
            least, most = asked["runs"]
            runs = min(most, max(least, round(asked["seconds"] / per_run)))
            warmup = min(WARMUP, runs // 5)  # the first inference comes before

            def tell(done: int, total: int | None, what: str, _: float | None) -> None:
                note(f"{name} {done + 1}/{total}: {what}")

            fitting = {
                variant: model for variant, model in models.items() if batch == 1 or not VARIANTS[variant].one_at_a_time
            }
            measured_here = bench(
                fitting, **at, runs=runs, rounds=asked["rounds"], warmup=warmup, timers=timers, progress=tell
            )
            result["settings"].append({"batch": batch, "threads": threads, "runs": runs, "warmup": warmup})
            result["variants"] += measured_here["variants"]
            result["ratios"] += measured_here["ratios"]
            result |= {"machine": measured_here["machine"], "method": measured_here["method"]}
    # These two differ from setting to setting and stand there.
    result["method"] = {key: value for key, value in result["method"].items() if key not in ("runs", "warmup")}
    return result


def note(text: str) -> None:
    """Progress, on one line of a terminal and line by line elsewhere."""
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"{text:<78}", end=end, file=sys.stderr, flush=True)


def previous(path: Path) -> dict[str, Any]:
    """What ``path`` holds already, empty where it does not exist."""
    stored = read_json(path, "benchmark result") if path.exists() else {}
    # Results of an older form do not say what was asked for.
    networks = {
        name: measured_before
        for name, measured_before in stored.get("networks", {}).items()
        if "asked" in measured_before
    }
    return {"networks": networks, "sizes": stored.get("sizes", {})}


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; with --sizes of {', '.join(NAMES)}")
    parser.add_argument("--bits", default="4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=0.4, help="that a process of the float twin times (default 0.4)"
    )
    parser.add_argument("--runs", type=int, nargs=2, default=[3, 2000], metavar=("LEAST", "MOST"))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--inputs", type=int, default=256, help="random inputs that outputs are compared on")
    parser.add_argument("--sizes", action="store_true", help="only sizes, of torchvision's networks")
    parser.add_argument("--resume", action="store_true", help="keep what was measured with the same options")
    parser.add_argument("--markdown", action="store_true", help="print the main table as Markdown as well")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "deploy.json")
    options = parser.parse_args()
    known = NAMES if options.sizes else tuple(NETWORKS)
    for kind, given, names in (("network", options.networks, known), ("variant", options.variants, tuple(VARIANTS))):
        unknown = [name for name in given if name not in names]
        if unknown:
            parser.error(f"unknown {kind} {unknown[0]!r}: known are {', '.join(names)}")
    options.networks = options.networks or list(known)
    # In the order of the registry; everything is compared with float.
    options.variants = [name for name in VARIANTS if name == "float" or name in options.variants]
    return options


def main() -> None:
    options = arguments()
    section = "sizes" if options.sizes else "networks"
    keys = ("bits", "rounds", "seconds", "runs", "batch", "threads", "variants", "inputs")
    asked = {key: getattr(options, key) for key in keys}
    report = previous(options.output)
    kept = report[section] if options.resume else {}
    report[section] = {name: result for name, result in kept.items() if options.sizes or result.get("asked") == asked}
    for name in options.networks:
        if name in report[section]:
            note(f"{name}: kept from {options.output}")
            continue
        note(f"{name}: writing files")
        started = time.perf_counter()
        report[section][name] = sizes_of(name) if options.sizes else measured(name, asked)
        report["targets"] = targets(report)
        write_json(options.output, report)
        note(f"{name}: done in {time.perf_counter() - started:.0f} s")
    report["targets"] = targets(report)
    write_json(options.output, report)

    # Wide tables stay whole when they are piped into a file.
    console = Console(width=None if sys.stdout.isatty() else 190)
    if options.sizes:
        console.print(sizes_table(report["sizes"]))
    else:
        for name in options.networks:
            console.print(*network_tables(name, report["networks"][name]), sep="\n")
        left_out = skipped_table(report["networks"])
        if left_out is not None:
            console.print(left_out)
    console.print(targets_table(report["targets"]))
    if options.markdown:
        print(markdown(report["networks"]))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
