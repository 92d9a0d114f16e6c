"""From options to an enhancer that fits the encoder to come."""

from __future__ import annotations

from scene.enhance.calibrated import calibration_for, conditioning_step
from scene.enhance.enhancer import Enhancer
from scene.enhance.semantics import open_conditioner
from scene.errors import UsageError
from scene.model import load_model
from scene.options import AUTO_MODEL, BYPASS, EnhanceOptions
from scene.video.encoders import DEFAULT_ENCODER, find_encoder


def open_enhancer(
    options: EnhanceOptions | None = None, *, codec: str = DEFAULT_ENCODER, crf: float | None = None
) -> Enhancer:
    """The enhancer of frames that an encoder takes afterwards.

    Args:
        options: which network and how; None for the defaults.
        codec: of the encoder to come, see `scene.enhance.calibrated`.
        crf: of it, None where it is not known; models that are conditioned on the quantiser need it.

    Raises:
        UsageError: invalid options, no model, or no CRF for a model that needs it.
        InputError, CheckpointError, MissingError: the model, its semantic encoder or the device is missing.
    """
    options = options or EnhanceOptions()
    if options.model == BYPASS:
        raise UsageError("`model` none leaves frames unchanged, so there is nothing to open; give a model.")
    if options.model == AUTO_MODEL:
        raise UsageError(
            "`model` auto is chosen by a trial with the encoder, which `scene encode` makes; give a model's name."
        )
    network = load_model(options.model)
    guide = None
    if network.config.guidance == "embedding":
        guide = open_conditioner(network, options.semantics, device=options.device)
    elif options.semantics != "auto":
        raise UsageError(f"model {network.identity} takes no semantic embedding; leave `semantics` out.")
    encoder = find_encoder(codec)
    calibration = calibration_for(network, encoder)
    conditioned = network.config.quantiser is not None
    if conditioned and crf is None:
        raise UsageError(
            f"model {network.identity} is conditioned on the quantiser of the encoder to come; give `codec` and `crf` "
            "of that encoder."
        )
    return Enhancer(
        network,
        strength=options.strength,
        calibration=calibration,
        temporal=options.temporal,
        device=options.device,
        semantics=guide,
        interval=options.semantic_interval,
        runtime=options.runtime,
        step=None if crf is None else conditioning_step(network, encoder, crf),
    )
