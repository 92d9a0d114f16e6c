"""How a model is applied before an encoder: by its own calibration, or by the encoder's fit where it has none."""

from __future__ import annotations

from scene.model import Calibration, Network
from scene.video.encoders.base import Encoder


def calibration_for(network: Network, encoder: Encoder) -> Calibration:
    """How a model is applied before an encoder.

    By its calibration for this encoder, or for one of the same kind (`Encoder.kin`). Where there is neither, a network
    has the encoder's fit if it is conditioned on the quantiser, and a model without a network takes what it has.
    """
    own = network.calibrations
    names = [encoder.name, *encoder.kin, *(() if network.config.body else own)]
    found = next((own[name] for name in names if name in own), None)
    if found is not None:
        return found
    if network.config.quantiser is None or not network.config.body:
        return Calibration()
    return Calibration(strength=encoder.fit.strength, step=encoder.fit.step)


def conditioning_step(network: Network, encoder: Encoder, crf: float) -> float:
    """The quantiser step, in 8-bit code values, that a model is given before an encode at this CRF.

    Raises:
        UsageError: a CRF that the encoder does not have.
    """
    return encoder.quantiser_step(crf) * calibration_for(network, encoder).step
