"""What is attacked, and the one place that counts who was fooled: the file that ships, on inputs that it can be fed."""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgepriv.audit.answers import Bools
from edgepriv.audit.clustered import Groups
from edgepriv.audit.evasion.attacked import Attacked
from edgepriv.audit.evasion.grid import on_bytes, radius_on_bytes
from edgepriv.audit.evasion.square import Scores
from edgepriv.audit.table_rows import TableRows
from edgepriv.training.pgd import SETTLED, margin

Inputs = npt.NDArray[np.float32]
Predict = Callable[[Inputs], npt.NDArray[np.floating]]
Tick = Callable[[], None]

DRAWS = 9
"""Questions about each input to a file that answers at random: its label is that of the mean."""


class Counter:
    """Adds up steps for ``progress(done, total)``, in passes forwards and backwards of one example."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self.progress, self.total, self.done = progress, 1.0, 0.0

    def expect(self, total: float) -> None:
        """Say how many passes there will be at most.

        Args:
            total: of one example each.
        """
        self.total = max(1.0, total)

    def add(self, passes: float) -> None:
        """Count passes that are done.

        Args:
            passes: of one example each.
        """
        self.done += passes
        self.progress(min(max(1, round(self.done)), round(self.total)), round(self.total))

    def finish(self) -> None:
        """What was not needed counts as done."""
        self.add(self.total - self.done)


@dataclass(frozen=True)
class Craft:
    """One try of an attack. ``make(x, y, tick, settled)``: inputs and labels in torch -> perturbed inputs, with ``steps`` calls
    of ``tick``; ``passes``: what it costs for each example, in passes forwards and backwards. ``stops``: whether it leaves an
    example once the twin is wrong by a lead of ``settled``."""

    make: Callable[[Tensor, Tensor, Tick, float], Tensor]
    steps: int
    passes: float
    stops: bool = True


@dataclass(frozen=True, eq=False)
class Trial:
    """What is attacked, with what strength.

    twin: float32 [n, ...] -> logits with gradients; predict: the file; scores: what a search without gradients climbs on.
    x: float32 [n, ...] in [0, 1]. y: int64 [n]. steps, restarts: of PGD. free: bool, the shape of an example: what may
    change, None for everything. bytes_in: whether the file takes bytes. rows: what the rows of a table can hold, None for
    other inputs. groups: int64 [n], whose records they are, None for a person each.
    """

    twin: Attacked
    predict: Predict
    scores: Scores
    x: Inputs
    y: npt.NDArray[np.int64]
    norm: str
    steps: int
    restarts: int
    batch: int
    device: torch.device
    seed: int
    counter: Counter
    free: Bools | None = None
    bytes_in: bool = False
    rows: TableRows | None = None
    groups: Groups = None

    def within(self, eps: float) -> "Trial":
        """The same trial, where what cannot change within a radius is left alone: whole numbers of which one step is more.

        Args:
            eps: radius in input units.

        Returns:
            The trial; itself for anything but the rows of a table.
        """
        if self.rows is None:
            return self
        movable = self.rows.movable(self.norm, eps)
        free = movable if self.free is None else movable & self.free
        twin = Attacked(self.twin.twin, torch.from_numpy(free).to(self.device))
        twin.temperature = self.twin.temperature
        return replace(self, twin=twin, free=free)

    def radius(self, eps: float) -> float:
        """What attacks may use of a radius.

        Args:
            eps: radius in input units.

        Returns:
            The largest that whole bytes can use where the file takes bytes, else ``eps``.
        """
        return radius_on_bytes(self.norm, eps) if self.bytes_in else eps

    def free_on_device(self) -> Tensor | None:
        """``free`` as a tensor."""
        return None if self.free is None else torch.from_numpy(self.free).to(self.device)

    def generator(self, of: str) -> torch.Generator:
        """The generator of an attack's random starts: its own, whatever was run before it.

        Args:
            of: name of the attack.

        Returns:
            A new generator on the CPU.
        """
        return torch.Generator().manual_seed(self.seed + (zlib.crc32(of.encode()) << 16))

    def rng(self, of: str) -> np.random.Generator:
        """As ``generator``, for numpy.

        Args:
            of: name of the attack.

        Returns:
            A new generator.
        """
        return np.random.default_rng([self.seed, zlib.crc32(of.encode())])

    def batches(self, index: npt.NDArray[np.intp]) -> Iterable[tuple[npt.NDArray[np.intp], Tensor, Tensor]]:
        """Some of the examples, in pieces.

        Args:
            index: int [m], their places.

        Returns:
            (places, inputs, labels) of each piece, tensors on the twin's device.
        """
        for start in range(0, len(index), self.batch):
            part = index[start : start + self.batch]
            inputs, labels = (torch.from_numpy(array[part]).to(self.device) for array in (self.x, self.y))
            yield part, inputs, labels

    def labels(self, x: Inputs) -> npt.NDArray[np.intp]:
        """The file's labels.

        Args:
            x: float32 [n, ...] in [0, 1].

        Returns:
            int64 [n].
        """
        return np.asarray(self.predict(x).argmax(axis=1))

    def right(self, index: npt.NDArray[np.intp], moved: Inputs, eps: float) -> Bools:
        """Whether the file labels moved examples rightly.

        Args:
            index: int [m], their places.
            moved: float32 [m, ...] in [0, 1]; what may not change is put back, and bytes are made whole.
            eps: radius that bytes may not leave.

        Returns:
            bool [m].
        """
        if self.free is not None:
            moved = np.where(self.free, moved, self.x[index])  # what is left of rounding
        return np.asarray(self.labels(self.fed(self.x[index], moved, eps)) == self.y[index])

    def fed(self, x: Inputs, moved: Inputs, eps: float) -> Inputs:
        """What the file can be fed: whole bytes, rows of a table.

        Args:
            x: float32 [n, ...] in [0, 1], the clean inputs.
            moved: float32 [n, ...] in [0, 1], the same perturbed.
            eps: radius in input units, which is not left.

        Returns:
            float32 [n, ...].
        """
        if self.rows is not None:
            return self.rows.nearest(x, moved, self.norm, eps)
        return on_bytes(x, moved, self.norm, self.radius(eps)) if self.bytes_in else moved

    def withstands(self, tries: Sequence[Craft], candidates: Bools, eps: float) -> Bools:
        """Run an attack: which candidates the file still labels rightly after every try.

        Each try is made against what still stands. Where one has stopped early, as the twin was wrong, and the file is right
        (it rounds, or takes bytes), it is made once more and uses all its steps.

        Args:
            tries: of the attack.
            candidates: bool [n].
            eps: radius in input units.

        Returns:
            bool [n], of the candidates those that withstood.
        """
        held = candidates.copy()
        for craft in tries:
            index = np.flatnonzero(held)
            self.counter.add(craft.passes * (len(held) - len(index)))
            for part, inputs, labels in self.batches(index):
                tick = _Ticks(self.counter, craft, len(part))
                moved = craft.make(inputs, labels, tick, SETTLED)
                tick.finish()
                held[part] = self.right(part, moved.cpu().numpy(), eps)
                early = part[held[part] & self._lost(moved, labels)] if craft.stops else part[:0]
                for some, inputs, labels in self.batches(early):
                    moved = craft.make(inputs, labels, lambda: None, torch.inf)
                    held[some] = self.right(some, moved.cpu().numpy(), eps)
        return held

    @torch.no_grad()
    def _lost(self, moved: Tensor, y: Tensor) -> Bools:
        """Where the twin is wrong by as much as ends an attack."""
        return np.asarray((margin(self.twin(moved), y) > SETTLED).cpu().numpy())


class _Ticks:
    """Counts the steps of one try on a batch; what it left out at the end counts as done."""

    def __init__(self, counter: Counter, craft: Craft, examples: int) -> None:
        self.counter, self.left = counter, craft.steps
        self.each = craft.passes * examples / craft.steps

    def __call__(self) -> None:
        if self.left:
            self.left -= 1
            self.counter.add(self.each)

    def finish(self) -> None:
        self.counter.add(self.each * self.left)
        self.left = 0
