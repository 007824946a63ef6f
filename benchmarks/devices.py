"""Images per second of one epoch by each way of training, on each device: ResNet-20 on 32x32 colour images, batches of 256.

    python benchmarks/devices.py [--devices cpu,cuda] [--images 5120] [--plain] [-o benchmarks/results/devices.json]

The images are noise: speed does not depend on them. The first epoch warms up and is not counted; the median of the others is.
On a GPU an attack's passes are recorded and replayed; --plain measures it without as well.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgepriv.device.machine import machine
from edgepriv.files import write_json
from edgepriv.models import build_classifier
from edgepriv.recipe import Recipe
from edgepriv.training import recorded
from edgepriv.training.examples import Examples
from edgepriv.training.loop import Hooks, fit
from edgepriv.training.task import task_of

SEEN_BEFORE = recorded.SEEN_BEFORE
REPLAYS = {False: (True,), True: (False, True)}
RESULTS = Path(__file__).parent / "results" / "devices.json"
WAYS: dict[str, dict[str, Any]] = {
    "clean": {"method": "none"},
    "fgsm": {"method": "fgsm"},
    "nfgsm": {"method": "nfgsm"},
    "pgd-7": {"method": "pgd", "steps": 7},
    "trades-7": {"method": "trades", "steps": 7},
    "mart-7": {"method": "mart", "steps": 7},
}


def seconds_of(
    adversary: dict[str, Any], device: str, members: Examples, bits: int | None, options: argparse.Namespace
) -> list[float]:
    """Of each epoch but the first."""
    stage = {
        "epochs": options.epochs + 1,
        "batch_size": options.batch_size,
        "optimizer": "sgd",
        "lr": 0.01,
        "augment": "crop_flip",
        "select": "last",
    }
    name = "qat" if bits else "robust"
    recipe = Recipe(
        model={"name": "resnet20"},
        adversary=adversary | ({} if adversary["method"] == "none" else {"eps": 8 / 255}),
        quantize={"bits": bits or 32},
        device=device,
        precision=options.precision,
        **{name: stage | {"adversarial": adversary["method"] != "none"}},
    )
    torch.manual_seed(0)
    classifier = build_classifier(recipe.model, 10, (3, 32, 32))
    ended = [time.perf_counter()]

    def after_epoch(_: object) -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        ended.append(time.perf_counter())

    task = task_of(classifier.network, recipe, name, (3, 32, 32))
    fit(classifier, members, task, seed=0, hooks=Hooks(after_epoch=after_epoch))
    return np.diff(ended)[1:].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="cpu,cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=int, default=5120)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS))
    parser.add_argument("--plain", action="store_true", help="measure attacks whose passes are not recorded, too")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    drawn = torch.Generator().manual_seed(0)
    members = Examples(
        torch.randint(256, (options.images, 3, 32, 32), generator=drawn, dtype=torch.uint8),
        torch.randint(10, (options.images,), generator=drawn),
    )
    rows = []
    for device in options.devices.split(","):
        for bits in (None, 4):
            for way in options.ways:
                for replays in REPLAYS[options.plain and way != "clean" and device.startswith("cuda")]:
                    recorded.SEEN_BEFORE = SEEN_BEFORE if replays else sys.maxsize
                    seconds = seconds_of(WAYS[way], device, members, bits, options)
                    rate = options.images / statistics.median(seconds)
                    row = {"device": device, "bits": bits, "way": way, "replays": replays}
                    rows.append(row | {"images_per_second": rate, "seconds": seconds})
                    note = "" if replays else "  each pass by itself"
                    print(f"{device:8} {bits or 'float':>5} {way:9} {rate:10,.0f} images/s{note}", flush=True)
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    of_run = {name: getattr(options, name) for name in ("images", "epochs", "batch_size", "precision")}
    write_json(
        options.output, {"machine": machine() | {"gpus": gpus, "torch": torch.__version__}, "run": of_run, "rows": rows}
    )


if __name__ == "__main__":
    main()
