"""Heads: output defences behind the softmax, trained by the owner after the model."""

from edgepriv.heads.kinds import Answering, answering, trained_head

__all__ = ["Answering", "answering", "trained_head"]
