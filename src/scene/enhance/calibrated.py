"""How a model is applied before an encoder: by its own calibration, or by the encoder's fit where it has none."""

from __future__ import annotations

from scene.model import Calibration, Network
from scene.video.encoders.base import Encoder


def calibration_for(network: Network, encoder: Encoder) -> Calibration:
    """The network's calibration for an encoder.

    One that was never calibrated for it has the encoder's fit where it is conditioned on the quantiser.
    """
    own = network.calibrations.get(encoder.name)
    if own is not None:
        return own
    if network.config.quantiser is None:
        return Calibration()
    return Calibration(strength=encoder.fit.strength, step=encoder.fit.step)


def conditioning_step(network: Network, encoder: Encoder, crf: float) -> float:
    """The quantiser step, in 8-bit code values, that a model is given before an encode at this CRF.

    Raises:
        UsageError: a CRF that the encoder does not have.
    """
    return encoder.quantiser_step(crf) * calibration_for(network, encoder).step
