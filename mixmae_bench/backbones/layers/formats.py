"""Number formats of operators under autocast."""

import torch
from torch import Tensor


def compute_dtype(tokens: Tensor) -> torch.dtype:
    """Return the format in which a linear layer computes tokens: autocast's if it is active, else theirs."""
    device = tokens.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return tokens.dtype
