"""The sections of a recipe but for the stages of training: what each says, within which bounds."""

from edgepriv.recipe.defending import Adversary, Dp, Head, Noise
from edgepriv.recipe.deploying import Export, Quantize
from edgepriv.recipe.examining import Audit, Bench
from edgepriv.recipe.inputs import Data, Model

__all__ = ["Adversary", "Audit", "Bench", "Data", "Dp", "Export", "Head", "Model", "Noise", "Quantize"]
