"""Types and default arguments that every model file shares."""

from __future__ import annotations

from mmseg.utils.typing_utils import ConfigType, OptConfigType

__all__ = ["BN", "PRIOR", "RELU", "ConfigType", "OptConfigType"]

BN: ConfigType = {"type": "BN"}
RELU: ConfigType = {"type": "ReLU"}

PRIOR = 0.01
"""Probability that an untrained sigmoid classifier gives: about the share of lesion pixels, so that the first steps are not
spent on learning that background dominates (the initialisation of RetinaNet, Lin et al. 2017, section 4.1)."""
