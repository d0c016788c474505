"""The two definitions of the mean corruption error on ImageNet-C.

Errors are top-1 errors in %, of five severities by the name of the corruption. Only the 15 corruptions of the
benchmark count.
"""

from collections.abc import Mapping, Sequence

import numpy as np

Errors = Mapping[str, Sequence[float]]

ALEXNET_ERRORS = {
    "gaussian_noise": 88.6428,
    "shot_noise": 89.4468,
    "impulse_noise": 92.2640,
    "defocus_blur": 81.9880,
    "glass_blur": 82.6268,
    "motion_blur": 78.5948,
    "zoom_blur": 79.8360,
    "snow": 86.6816,
    "frost": 82.6572,
    "fog": 81.9324,
    "brightness": 56.4592,
    "contrast": 85.3204,
    "elastic_transform": 64.6056,
    "pixelate": 71.7840,
    "jpeg_compression": 60.6500,
}
"""AlexNet's top-1 errors, the mean over the five severities, in %.

Source: `ALEXNET_ERR` in imagenet.py of github.com/google-research/augmix at 202cf4c, which takes them from
github.com/hendrycks/robustness.
"""


def mean_error(errors: Errors) -> float:
    """Return the mean of the errors over corruptions and severities, in %."""
    return float(np.mean([errors[corruption] for corruption in ALEXNET_ERRORS]))


def mce_alexnet(errors: Errors) -> float:
    """Return the mean corruption error of Hendrycks and Dietterich (arXiv 1903.12261, section 4.1), in %.

    For each corruption, the sum of the errors over severities is divided by AlexNet's. The value is the mean
    of these ratios over corruptions.
    """
    return float(np.mean([100 * np.mean(errors[name]) / alexnet for name, alexnet in ALEXNET_ERRORS.items()]))
