"""A training script as a user has it: torchvision's resnet18 on chest X-rays, with augmentation and a loss that weighs classes.

``make`` is the network, ``train`` trains it as ``edgepriv audit --trainer chest_script.py:train`` asks.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader

from edgepriv.torchvision_compat import import_torchvision

EPOCHS, BATCH, LR = 12, 50, 0.02
MEAN, STD = 0.5, 0.25


def make(num_classes, input_shape):
    net = import_torchvision("models").resnet18(num_classes=num_classes)
    net.conv1 = nn.Conv2d(input_shape[0], 64, 3, padding=1, stride=2, bias=False)
    return net


def augmented(x):
    """Shifted by up to 2 pixels, mirrored, brighter or darker."""
    rows, columns = torch.randint(-2, 3, (2,)).tolist()
    x = torch.roll(x, (rows, columns), dims=(2, 3))
    mirrored = torch.rand(len(x), 1, 1, 1) < 0.5
    x = torch.where(mirrored, x.flip(3), x)
    return (x * (0.9 + 0.2 * torch.rand(len(x), 1, 1, 1))).clamp(0, 1)


def train(data, *, seed, device):
    torch.manual_seed(seed)
    net = make(data.classes, data.x.shape[1:]).to(device).train()
    count = torch.bincount(torch.as_tensor(data.y), minlength=data.classes).clamp(min=1)
    loss = nn.CrossEntropyLoss((len(data) / (data.classes * count)).to(device))
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(loader))
    for _ in range(EPOCHS):
        for x, y in loader:
            x = (augmented(x) - MEAN) / STD
            optimizer.zero_grad()
            loss(net(x.to(device)), y.to(device)).backward()
            optimizer.step()
            schedule.step()
    return net
