"""Architectures by name, and checkpoints of them."""

from edgepriv.models.checkpoint import Checkpoint
from edgepriv.models.classifier import Classifier, build, build_classifier

__all__ = ["Checkpoint", "Classifier", "build", "build_classifier"]
