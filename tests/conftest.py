"""What every test shares: one thread, and data folders that are not the user's."""

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if not os.environ.get("EDGEPRIV_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # "auto" is the processor, so that tests compute the same on every machine

import torch

torch.set_num_threads(1)

REAL_DATA = ("fashion_mnist", "cifar10", "location30")


@pytest.fixture(scope="session", autouse=True)
def operators_read_once() -> Iterator[None]:
    """torch's exporter parses the sources of its 500 operators again for each network, which is half the time of a small
    export. Nothing in them depends on the network."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    read: dict[tuple[object, ...], ONNXRegistry] = {}
    parse = ONNXRegistry.from_torchlib

    def once(*version: object, **options: object) -> ONNXRegistry:
        key = (*version, *options.items())
        if key not in read:
            read[key] = parse(*version, **options)
        registry = copy.copy(read[key])
        registry.functions = {name: list(forms) for name, forms in read[key].functions.items()}
        return registry

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ONNXRegistry, "from_torchlib", staticmethod(once))
        yield


@pytest.fixture(scope="session", autouse=True)
def audits_in_this_process() -> Iterator[None]:
    """The few small reference models of a test are trained before another process has imported torch, and the tests fill
    the processors by themselves. Tests of several processes say how many."""
    from edgepriv.audit import workers

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(workers, "processors", lambda: 1)
        yield


@pytest.fixture
def dies_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run something that trains until it has written its partial file so many times, then die as on Ctrl-C."""
    from edgepriv.training import stages

    def dies_after(writes: int, run: Callable[..., object], *arguments: object, **options: object) -> None:
        write, left = stages.write_resume_state, iter(range(writes - 1))

        def dying(*what: object) -> None:
            write(*what)
            if next(left, None) is None:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(stages, "write_resume_state", dying)
            with pytest.raises(KeyboardInterrupt):
                run(*arguments, **options)

    return dies_after


@pytest.fixture
def real_data() -> Path:
    """The folder of the real data sets; the test is skipped where they are not."""
    from edgepriv.data import default_data_dir

    folder = default_data_dir()
    missing = [name for name in REAL_DATA if not (folder / f"{name}.npz").exists()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not in {folder}")
    return folder
