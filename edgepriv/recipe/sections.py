"""The sections of a recipe but for the stages of training: what each says, within which bounds."""

from edgepriv.recipe.defences.adversarial import Adversary
from edgepriv.recipe.defences.heads import Head
from edgepriv.recipe.defences.noise import Noise
from edgepriv.recipe.defences.private_training import Dp
from edgepriv.recipe.defences.quantization import Quantize
from edgepriv.recipe.deploying import Export
from edgepriv.recipe.examining import Audit, Bench
from edgepriv.recipe.inputs import Data, Model, Pipeline

__all__ = ["Adversary", "Audit", "Bench", "Data", "Dp", "Export", "Head", "Model", "Noise", "Pipeline", "Quantize"]
