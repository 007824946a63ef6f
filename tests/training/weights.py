"""All of a module's numbers in one row, to compare two modules bit by bit."""

import torch


def weights_of(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in module.state_dict().values()])
