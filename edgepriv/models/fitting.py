"""Whether tensors of a file are those of a network, by name and shape, and what to say where they are not."""

from dataclasses import dataclass

from torch import Tensor

from edgepriv.errors import UserError
from edgepriv.models.lsq_steps import is_step
from edgepriv.models.rounded_activations import is_rounding
from edgepriv.models.tensor_names import State, is_averaged, is_counter, some


@dataclass(frozen=True)
class Candidate:
    """A dictionary of tensors that could be a network's. ``container``: the keys on the way to it, joined by dots; ``prefix``:
    before the names; ``unwrapped``: whether wrappers were taken out of them; ``wanted``: the network's own tensors by name."""

    container: str
    prefix: str
    tensors: State
    unwrapped: bool
    wanted: State

    @property
    def title(self) -> str:
        """Where it stands, for sentences."""
        inside = self.container or "the state_dict"
        return f"{inside} without the prefix {self.prefix}" if self.prefix else inside

    @property
    def averaged(self) -> bool:
        """Whether its names say that it holds averaged weights."""
        return is_averaged(f"{self.container}.{self.prefix}", self.tensors)

    def missing(self) -> list[str]:
        """Tensors of the network that the file does not have."""
        return [name for name in self.wanted if self.tensor(name) is None and not is_counter(name)]

    def tensor(self, name: str) -> Tensor | None:
        """What the file has for a tensor; files that store a shared one once have it under another of its names.

        Args:
            name: the network's.

        Returns:
            The tensor; None where there is none.
        """
        own = self.tensors.get(self.prefix + name)
        if own is not None:
            return own
        shared = self.wanted[name].data_ptr()
        names = (other for other, value in self.wanted.items() if shared and value.data_ptr() == shared)
        return next((self.tensors[self.prefix + other] for other in names if self.prefix + other in self.tensors), None)

    def others(self) -> list[str]:
        """Tensors under the prefix that the network has no place for."""
        own = (name for name in self.tensors if name.startswith(self.prefix))
        return [
            name
            for name in own
            if name.removeprefix(self.prefix) not in self.wanted
            and not is_counter(name)
            and not is_step(name)
            and not is_rounding(name.removeprefix(self.prefix))
        ]

    def misshapen(self) -> list[str]:
        """Tensors of another shape than the network's, each with both shapes."""
        pairs = ((name, self.tensor(name), like) for name, like in self.wanted.items())
        return [
            f"{name} is {list(own.shape)} where the model has {list(like.shape)}"
            for name, own, like in pairs
            if own is not None and own.shape != like.shape and not is_counter(name)
        ]

    @property
    def fits(self) -> bool:
        """Whether it holds just the network's tensors, in their shapes."""
        return not (self.missing() or self.others() or self.misshapen())

    @property
    def misfits(self) -> int:
        """How many tensors are missing, too much or of another shape."""
        return len(self.missing()) + len(self.others()) + len(self.misshapen())


def misfit(candidate: Candidate, model: str) -> str:
    """What does not fit, the names that matter first: never cut before them.

    Args:
        candidate: a dictionary of tensors, with the names that the network wants.
        model: name of the network.

    Returns:
        A sentence.
    """
    missing, others, misshapen = candidate.missing(), candidate.others(), candidate.misshapen()
    parts = []
    if misshapen:
        parts.append(f"{some(misshapen)}")
    if others:
        parts.append(f"the model has no {some(others)}")
    if missing:
        parts.append(f"the file has no {some(missing)}")
    return f"the weights do not fit model {model!r}: {'; '.join(parts)}"


def refuse_misfit(state: State, wanted: State, model: str, where: str = "") -> None:
    """Raise UserError when the names or shapes of tensors are not just those that a network has.

    Args:
        state: the tensors by name.
        wanted: the network's own.
        model: name of the network, for the sentence.
        where: name of the file, for the sentence; empty for none.

    Raises:
        UserError: naming what is missing, too much or of another shape.
    """
    own = Candidate("", "", state, False, wanted)
    if not own.fits:
        raise UserError(f"{where}{': ' if where else ''}{misfit(own, model)}")
