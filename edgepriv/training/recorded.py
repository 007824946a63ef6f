"""On a CUDA GPU the gradient of an attack is recorded once and then replayed as one launch (a CUDA graph).

A small network is bound there by the start of each operation: one pass of ResNet-20 forwards and backwards is some 200 of
them. An attack repeats the same pass, with weights that change from batch to batch: these, the inputs and the labels are copied
to where the recording reads them. A recording is used only if its first answers are those of a plain pass; where a network
cannot be recorded, or answers otherwise, every pass is a plain one.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgepriv.training.pgd import Differentiated, Logits, Objective, gradient

SEEN_BEFORE = 3
"""Passes of one kind before it is recorded: a batch of an odd size comes once in an epoch."""
_MOST = 4
"""Recordings that are kept; each holds the memory of one pass."""
_TOLERANCE = 0.02
"""Relative error in the Euclidean norm, of a replay against a plain pass: the kernels of a convolution may be others, and with
bfloat16 each rounds to 8 bits."""

Asked = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""Weights and buffers by name, and inputs [N, ...] -> logits [N, K]."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    x: Tensor
    y: Tensor
    slope: Tensor
    logits: Tensor

    def replayed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.x.copy_(x)
        self.y.copy_(y)
        self.graph.replay()
        return self.slope.clone(), self.logits.clone()


@dataclass
class Recorder:
    """Recordings of one network. ``weights``: where they read its weights; ``holder``: whose weights these are now, and how
    often each had been changed in place by then. ``refused``: the reason why nothing is recorded any more, "" while it is."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    holder: "tuple[Replayed, list[int]] | None" = None
    recordings: dict[object, _Recording] = field(default_factory=dict)
    seen: Counter[object] = field(default_factory=Counter)
    refused: str = ""

    def hold(self, asked: "Replayed") -> None:
        """Let the recordings read the weights of ``asked``.

        Args:
            asked: which weights.
        """
        changes = [weight._version for weight in asked.weights.values()]
        if self.holder is not None and self.holder[0] is asked and self.holder[1] == changes:
            return
        now = {name: weight.detach() for name, weight in asked.weights.items()}
        if _layout(now) != _layout(self.weights):
            self.recordings.clear()
            self.weights = {name: weight.clone() for name, weight in now.items()}
        else:
            torch._foreach_copy_(list(self.weights.values()), list(now.values()))
        self.holder = asked, changes

    def record(self, asked: "Replayed", key: object, x: Tensor, y: Tensor, objective: Objective) -> _Recording | None:
        """Record one pass.

        Args:
            asked: what is asked, whose weights are held.
            key: under which the recording is kept.
            x: inputs of the pass.
            y: its labels.
            objective: what is raised.

        Returns:
            The recording; None where there can be none, and from then on.
        """
        try:
            made = _recorded(lambda moved: asked.asked(self.weights, moved), x, y, objective)
            self.refused = _differs(made.replayed(x, y), gradient(asked.plain, x, y, objective))
        except RuntimeError as error:  # not allowed while recording: waiting for an answer, copying from the processor
            torch.cuda.synchronize(x.device)
            self.refused = str(error).partition("\n")[0] or "it cannot be recorded"
        if self.refused:
            self.recordings.clear()
            return None
        self.recordings[key] = made
        return made


@dataclass(frozen=True, eq=False)
class Replayed(Differentiated):
    """The logits of a network with frozen ``weights``, by name, buffers among them, whose gradients are replayed."""

    asked: Asked
    weights: Mapping[str, Tensor]
    recorder: Recorder

    def plain(self, x: Tensor) -> Tensor:
        """Logits by a plain pass.

        Args:
            x: [N, ...].

        Returns:
            [N, K].
        """
        return self.asked(self.weights, x)

    def __call__(self, x: Tensor) -> Tensor:
        return self.plain(x)

    def gradient(self, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
        """Replayed where there is a recording.

        Args:
            x: [N, ...].
            y: labels, as ``objective`` takes them.
            objective: (logits, y) -> [N].

        Returns:
            The gradient [N, ...], and the logits [N, K].
        """
        recorder = self.recorder
        key = (x.shape, x.stride(), x.dtype, y.shape, y.dtype, objective)
        recorder.seen[key] += 1
        if recorder.refused or recorder.seen[key] <= SEEN_BEFORE:
            return gradient(self.plain, x, y, objective)
        recorder.hold(self)
        recording = recorder.recordings.get(key)
        if recording is None and len(recorder.recordings) < _MOST:
            recording = recorder.record(self, key, x, y, objective)
        return gradient(self.plain, x, y, objective) if recording is None else recording.replayed(x, y)


def _recorded(logits_of: Logits, x: Tensor, y: Tensor, objective: Objective) -> _Recording:
    """Of one pass, after one on a stream of its own, in which the libraries prepare what they may not while recording."""
    x, y = x.detach().clone(), y.detach().clone()
    side = torch.cuda.Stream(x.device)
    side.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(side):
        gradient(logits_of, x, y, objective)
    torch.cuda.current_stream(x.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        slope, logits = gradient(logits_of, x, y, objective)
    return _Recording(graph, x, y, slope, logits)


def _differs(replayed: tuple[Tensor, Tensor], plain: tuple[Tensor, Tensor]) -> str:
    for ours, expected in zip(replayed, plain, strict=True):
        error = (ours - expected).float().norm() / expected.float().norm().clamp(min=torch.finfo(torch.float32).tiny)
        if not error <= _TOLERANCE and expected.norm() > 0:
            return f"a replay differs by {float(error):.2g} from a plain pass"
    return ""


def _layout(weights: Mapping[str, Tensor]) -> list[tuple[object, ...]]:
    return [(name, own.shape, own.stride(), own.dtype, own.device) for name, own in weights.items()]
