"""A model file opened once: it, and what stands beside it, is read at most once, and passed on from there.

Everything is read when it is first asked for, and kept. A session runs the very bytes that the digest is of; weights in
other files are the exception, which onnxruntime reads by itself.
"""

import hashlib
import io
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx.external_data_helper import load_external_data_for_model

from edgepriv.artifact import manifest as manifests
from edgepriv.artifact import session as sessions
from edgepriv.artifact.compiler import Twin
from edgepriv.artifact.contract import Contract
from edgepriv.artifact.head import bytes_of, cut_open, head_of, without_head
from edgepriv.artifact.layers import LayerSummary, layers
from edgepriv.artifact.manifest import Manifest
from edgepriv.artifact.metadata import metadata_of, names_in, table_in
from edgepriv.artifact.model_files import external_files, parsed
from edgepriv.artifact.twin import differentiable
from edgepriv.data import TableEncoding
from edgepriv.device import memguard
from edgepriv.errors import UserError
from edgepriv.files import read_bytes, sha256_of


@dataclass(frozen=True, eq=False)
class DeployedModel:
    """A model as a device holds it, and what its owner keeps beside it.

    ``path``: of the .onnx (or .ort). ``given``: its bytes, where they are not those of the file at ``path``: then nothing
    stands beside them. Nobody changes what it returns: others are given the very same objects.
    """

    path: Path
    given: bytes | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "DeployedModel":
        """The model of a file, of which nothing is read yet.

        Args:
            path: of the .onnx.

        Returns:
            The model.

        Raises:
            UserError: when there is no such file.
        """
        if not Path(path).is_file():
            raise UserError(f"no such file: {os.fspath(path)}")
        return cls(Path(path))

    @property
    def name(self) -> str:
        """Of the file, without its folder."""
        return self.path.name

    @cached_property
    def content(self) -> bytes:
        """The .onnx byte for byte, without weights that stand in other files."""
        return read_bytes(self.path, "model") if self.given is None else self.given

    @cached_property
    def external(self) -> tuple[Path, ...]:
        """The files beside the .onnx that hold weights of it, in the order of their names; none for most models, and for a
        file that is no ONNX.

        Raises:
            UserError: when one of them is missing, or stands elsewhere.
        """
        graph = self._parsed
        return () if graph is None or self.given is not None else tuple(external_files(self.path, graph))

    @cached_property
    def graph(self) -> onnx.ModelProto:
        """The parsed .onnx with all its weights.

        Raises:
            UserError: for an .ort file, and for one that is truncated, not ONNX, or without a graph.
        """
        external, graph = self.external, self._parsed
        if graph is None and self.path.suffix == ".ort":
            raise UserError(f"{self.path} is an .ort file: name the .onnx beside it")
        unreadable = f"{self.path} is not a readable ONNX file"
        if graph is None:
            raise UserError(f"{unreadable} (truncated, or of another format)")
        if not graph.graph.node or not graph.graph.output:
            raise UserError(f"{unreadable}: it holds no graph")
        if external:
            try:
                load_external_data_for_model(graph, str(self.path.parent))
            except Exception as error:  # onnx's own exceptions
                raise UserError(f"{unreadable} (truncated, or of another format)") from error
        return graph

    @cached_property
    def sha256(self) -> str:
        """Hex, of the .onnx; where weights stand in other files, of the digests of all of them."""
        own = hashlib.sha256(self.content).hexdigest()
        if not self.external:
            return own
        digests = [own, *(f"{other.name} {sha256_of(other)}" for other in self.external)]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    @cached_property
    def size_bytes(self) -> int:
        """Of the .onnx and of the files that hold its weights."""
        return len(self.content) + sum(file.stat().st_size for file in self.external)

    def facts(self) -> dict[str, Any]:
        """Name, sha256 and size in bytes of the whole model, and the names of the other files if there are any."""
        facts = {"file": self.name, "sha256": self.sha256, "size_bytes": self.size_bytes}
        others = [other.relative_to(self.path.parent).as_posix() for other in self.external]
        return facts | ({"external": others} if others else {})

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The entries of ``metadata_props`` that are text."""
        return metadata_of(self.graph)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes from the metadata; None where it holds none."""
        return names_in(self.metadata)

    @cached_property
    def table(self) -> TableEncoding | None:
        """How the rows of a table become the inputs of the file; None where it takes none."""
        record = table_in(self.metadata)
        return None if record is None else TableEncoding(record)

    @property
    def is_ours(self) -> bool:
        """Whether edgepriv wrote the file, which then says itself what it takes and returns."""
        return "edgepriv_version" in self.metadata

    @cached_property
    def layers(self) -> tuple[LayerSummary, ...]:
        """The weights by layer.

        Raises:
            UserError: when the graph contradicts itself.
        """
        try:
            return tuple(layers(self.graph))
        except (KeyError, IndexError, ValueError, OverflowError) as error:
            raise UserError(f"{self.path} is damaged: the graph in it contradicts itself") from error

    @property
    def head(self) -> str | None:
        """What kind of head is in the graph, None without one."""
        return head_of(self.graph)

    @property
    def answers_through(self) -> str | None:
        """What changes the answers of the model: its head, or the MemGuard that the device kit answers through."""
        guarded = self.manifest is not None and self.manifest.guard is not None
        return self.head or ("memguard" if guarded else None)

    @property
    def chooses_label(self) -> bool:
        """Whether a file of ours ends in the choice of the label, which can be cut off as a head can."""
        return self.is_ours and self.metadata.get("output") == "label"

    @cached_property
    def manifest(self) -> Manifest | None:
        """What stands in the manifest beside the file, None if there is none.

        Raises:
            UserError: when it cannot be read.
        """
        return None if self.given is not None else manifests.read_beside(self.path)

    def verified_manifest(self) -> Manifest | None:
        """The manifest beside the file, None if there is none.

        Raises:
            UserError: when it was written for other bytes than these.
        """
        if self.manifest is not None:
            manifests.verify(self.path, self.manifest, self.sha256)
        return self.manifest

    @cached_property
    def guard(self) -> memguard.MemGuard | None:
        """The MemGuard beside the file through which the device kit answers, None without one.

        Raises:
            UserError: when it has gone or changed since the export.
        """
        if self.manifest is None or self.manifest.guard is None:
            return None
        path = self.path.parent / self.manifest.guard["file"]
        content = read_bytes(path, "MemGuard") if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != self.manifest.guard["sha256"]:
            raise UserError(f"{path} is not the file that was exported with {self.name}: export the model again")
        return memguard.read(io.BytesIO(content))

    @cached_property
    def float_twin(self) -> "DeployedModel | None":
        """The float32 model that was exported with this one, None if there is none or it is no longer the same file."""
        if self.manifest is None or self.manifest.float_twin is None:
            return None
        path = self.path.parent / self.manifest.float_twin["file"]
        twin = DeployedModel(path) if path.is_file() else None
        return twin if twin is not None and twin.sha256 == self.manifest.float_twin["sha256"] else None

    def open_session(self) -> ort.InferenceSession:
        """A new session of one thread.

        Raises:
            UserError: when onnxruntime cannot open the file.
        """
        return sessions.started(self.path if self.external else self.content, self.path)

    @cached_property
    def session(self) -> ort.InferenceSession:
        """The session that everyone asks who needs answers."""
        return self.open_session()

    @property
    def contract(self) -> Contract:
        """How ``session`` is fed and read.

        Raises:
            UserError: for a file that is no classifier.
        """
        return sessions.check_contract(self.session)

    def differentiable(self, probe: np.ndarray | None = None, classes: int | None = None) -> Twin:
        """The same function with gradients, to the logits before any head; see ``twin.differentiable``.

        Args:
            probe: float32 [n, ...], inputs on which twin and file are compared.
            classes: K.

        Returns:
            The twin.

        Raises:
            Untwinnable: when there is none.
        """
        if self.head is None:
            return differentiable(self.graph, self.session, probe, classes)
        graph = without_head(self.graph)
        running = sessions.started(bytes_of(graph), self.path)
        return differentiable(graph, running, probe, classes)

    def cut_open(self) -> "DeployedModel":
        """The model without its head and without the choice of the label, which anyone who holds the file can remove.
        It has no companion files.

        Raises:
            UserError: for a file that has neither, nor a MemGuard beside it.
        """
        if self.answers_through is None and not self.chooses_label:
            raise UserError(f"{self.path} has no head to cut off: audit it without --cut-head")
        return DeployedModel(self.path, bytes_of(cut_open(self.graph)))

    @cached_property
    def _parsed(self) -> onnx.ModelProto | None:
        """The .onnx itself, None if it is none; ``graph`` loads weights from other files into it."""
        return parsed(self.content)
