"""The integers of a checkpoint's weights, as its recipe asks for them."""

from edgepriv.errors import UserError
from edgepriv.models import Checkpoint, Classifier
from edgepriv.recipe import Quantize
from edgepriv.training import quantize_weights
from edgepriv.training.quantization import QuantizedTensor, refuse_unmatched, widths


def integers_of(checkpoint: Checkpoint, classifier: Classifier) -> dict[str, QuantizedTensor]:
    """The integers of a classifier's weights.

    Args:
        checkpoint: whose recipe says how they are quantized.
        classifier: with the float weights.

    Returns:
        Parameter name -> integers; empty for full width.

    Raises:
        UserError: when the recipe's bits match no layer, or it computes in int8 without integers.
    """
    quantize, compute = checkpoint.recipe.quantize, checkpoint.recipe.export.compute
    refuse_unmatched(classifier.network, quantize)
    weights = quantize_weights(classifier.network, quantize)
    if quantize.active and not weights:
        layers = ", ".join(name.removesuffix(".weight") for name in widths(classifier.network, Quantize(bits=8)))
        raise UserError(f"bits {quantize.bits!r} matches no layer: the model's are {layers or 'none'}")
    if compute.startswith("int8") and not weights:
        raise UserError(
            f"--compute {compute} multiplies activations by integer weights, and this file has none: give --bits"
        )
    return weights
