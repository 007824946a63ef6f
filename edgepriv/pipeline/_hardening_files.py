"""Where hardening writes: what ships, what belongs to it, and what an interrupted run goes on from."""

from dataclasses import dataclass
from pathlib import Path

from edgepriv.artifact.release import written_by_export
from edgepriv.measure.kit import kit_paths
from edgepriv.project import beside


@dataclass(frozen=True)
class Paths:
    """Where hardening into ``output`` writes, under a ``name``. ``resume_file``, ``resume_robust``, ``resume_float``,
    ``resume_base``: what an interrupted run goes on from."""

    output: Path
    name: str = "model"

    @property
    def onnx(self) -> Path:
        """The model that ships, or its twin."""
        return self.output / f"{self.name}.onnx"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that the model was exported from."""
        return beside(self.onnx, "pt")

    @property
    def robust(self) -> Path:
        """The weights after the adversarial stage."""
        return beside(self.onnx, "robust.pt")

    @property
    def head(self) -> Path:
        """The head in the graph, of a model that has one."""
        return beside(self.onnx, "head.pt")

    @property
    def kit(self) -> Path:
        """The folder of the device kit, which only what ships has."""
        return self.output / "device"

    @property
    def resume_base(self) -> Path:
        """What the stage ``train`` goes on from, where it is run again for other canaries."""
        return beside(self.onnx, "base.partial")

    @property
    def resume_file(self) -> Path:
        """What an interrupted run goes on from."""
        return beside(self.onnx, "partial")

    @property
    def resume_robust(self) -> Path:
        """The weights after the adversarial stage, as long as the run goes on."""
        return beside(self.onnx, "robust.partial")

    @property
    def resume_float(self) -> Path:
        """The weights before the first stage that rounds them, as long as the run goes on."""
        return beside(self.onnx, "float.partial")

    @property
    def written(self) -> list[Path]:
        """What is there in the end."""
        own = [self.checkpoint, self.robust, self.head]
        kit = kit_paths(self.kit) if self.name == "model" else []
        return [*written_by_export(self.onnx), *own, *kit]

    @property
    def all(self) -> list[Path]:
        """And on the way."""
        return [*self.written, self.resume_file, self.resume_robust, self.resume_float, self.resume_base]


def written_by_harden(output: Path) -> list[Path]:
    """Every file that hardening may leave in a folder.

    Args:
        output: the folder.

    Returns:
        Their paths.
    """
    return Paths(output).written
