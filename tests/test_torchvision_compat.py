"""torchvision works beside a torch that cannot load its compiled library."""

import subprocess
import sys

CODE = """
from edgepriv.torchvision_compat import import_torchvision
models, datasets, transforms = (import_torchvision(part) for part in ("models", "datasets", "transforms"))
assert import_torchvision("models") is models
import torch
network = models.get_model("mobilenet_v3_small", weights=None, num_classes=3).eval()
print(tuple(network(torch.zeros(1, 3, 64, 64)).shape), datasets.MNIST.__name__, transforms.ToTensor.__name__)
"""


def test_models_data_sets_and_transforms_import_in_a_fresh_process():
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "(1, 3) MNIST ToTensor"
