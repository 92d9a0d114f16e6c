"""How a model is applied before an encoder: by its own calibration, or by the encoder's fit where it has none."""

from __future__ import annotations

from dataclasses import replace

from scene.model import Calibration, Network
from scene.video.encoders import find_encoder
from scene.video.encoders.base import Encoder


def calibration_for(network: Network, encoder: Encoder) -> Calibration:
    """How a model is applied before an encoder.

    By its calibration for this encoder, or for one of the same kind (`Encoder.kin`), whose temporal filter goes where
    the encoder filters in time itself. Where there is neither, a network
    has the encoder's fit if it is conditioned on the quantiser, and a model without a network borrows what it has for
    some other encoder.
    """
    if encoder.name in network.calibrations:
        return network.calibrations[encoder.name]
    for name in encoder.kin:
        if name in network.calibrations:
            found = network.calibrations[name]
            return found if encoder.fit.temporal else replace(found, temporal=None)
    if not network.config.body:
        return borrowed_calibration(network, encoder) or Calibration()
    if network.config.quantiser is None:
        return Calibration()
    return Calibration(strength=encoder.fit.strength, step=encoder.fit.step)


def borrowed_calibration(network: Network, encoder: Encoder) -> Calibration | None:
    """The first calibration of the model, whichever encoder it is for, as the fits of the two differ."""
    for name, found in network.calibrations.items():
        fit, other = encoder.fit, find_encoder(name).fit
        dose = fit.strength / other.strength
        bank, strength, step = found.bank.scaled(dose), found.strength * dose, found.step * fit.step / other.step
        temporal = found.temporal if fit.temporal else None
        return replace(found, temporal=temporal, bank=bank, strength=strength, step=step)
    return None


def conditioning_step(network: Network, encoder: Encoder, crf: float) -> float:
    """The quantiser step, in 8-bit code values, that a model is given before an encode at this CRF.

    Raises:
        UsageError: a CRF that the encoder does not have.
    """
    return encoder.quantiser_step(crf) * calibration_for(network, encoder).step
