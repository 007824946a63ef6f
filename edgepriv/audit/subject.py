"""What an audit examines: the file, its examples and its settings, checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgepriv.artifact.deployed import DeployedModel
from edgepriv.audit.answers import Bools
from edgepriv.audit.feeding import Told
from edgepriv.audit.releases import Release
from edgepriv.audit.run import Target
from edgepriv.audit.target import Opened
from edgepriv.data import Dataset, Split
from edgepriv.recipe import Recipe


@dataclass(frozen=True)
class Subject:
    """A file under audit.

    ``model``: the file; ``asked``: the same, or what is left of it when its head is cut off. ``opened``: how it is fed and
    read, as the user ``told``. ``dataset``: members and others, in the parts of ``split``, which holds no canaries;
    ``planted``: the split with them, None where there are none. ``recipe``: settings of the audit. ``attacks``: names of
    membership attacks. ``free``: bool, the shape of an example: what may be perturbed, None for everything. ``notes``: what
    was understood of data and file, in sentences. ``releases``: other releases of the model, which an attacker may hold too.
    """

    model: DeployedModel
    asked: DeployedModel
    opened: Opened
    told: Told
    dataset: Dataset
    split: Split
    recipe: Recipe
    attacks: Sequence[str]
    free: Bools | None
    notes: tuple[str, ...]
    planted: Split | None = None
    releases: Sequence[Release] = ()

    @property
    def whole(self) -> Split:
        """Everybody that the file was trained on, or compared with."""
        return self.split if self.planted is None else self.planted

    @property
    def target(self) -> Target:
        """The file as attacks see it."""
        return self.opened.target
