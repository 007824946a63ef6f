"""One loop, and what it can minimise."""

from edgepriv.training.quantization import QuantizedTensor, load_quantized, quantize_weights
from edgepriv.training.stages import run_stages
from edgepriv.training.stages_stacked import run_stages_stacked
from edgepriv.training.starting import new_classifier

__all__ = [
    "QuantizedTensor",
    "load_quantized",
    "new_classifier",
    "quantize_weights",
    "run_stages",
    "run_stages_stacked",
]
