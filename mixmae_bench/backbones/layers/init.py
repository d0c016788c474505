"""Random initialisations of the official implementations."""

from torch import nn


def xavier_init(module: nn.Module) -> None:
    """Initialise a Linear with Xavier-uniform weights and zero bias, as in the official code (M7)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def truncated_init(module: nn.Module) -> None:
    """Initialise a Linear with truncated normal weights (std 0.02) and zero bias, as in the official Swin."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def um_mae_init(module: nn.Module) -> None:
    """Initialise Linear (Xavier-uniform) and convolutions (N(0, sqrt(2 / fan_out))) with zero bias (U12)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
