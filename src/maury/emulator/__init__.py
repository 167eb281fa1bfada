"""The emulator: labels -> intrinsic spectrum, differentiable, with its own error per pixel."""

from maury.emulator.sampling import Sampler

__all__ = ["Sampler"]
