"""One loop, and what it can minimise."""

from edgepriv.training.course import new_classifier, run_stages, run_stages_stacked
from edgepriv.training.quantizer import QuantizedTensor, load_quantized, quantize_weights

__all__ = [
    "QuantizedTensor",
    "load_quantized",
    "new_classifier",
    "quantize_weights",
    "run_stages",
    "run_stages_stacked",
]
