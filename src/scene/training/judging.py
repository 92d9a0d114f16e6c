"""Which weights of a run are the best: by the proxy, or by what counts, a real encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from scene.enhance import Enhancer, SemanticGuide
from scene.model import Network
from scene.model.semantics import SemanticEncoder
from scene.picture import Picture
from scene.training.config import TrainingConfig
from scene.training.data.frames import FrameSource
from scene.training.encoder_validation import EncoderValidation, EncoderValidator
from scene.training.loss import CodecLoss
from scene.training.steering import Steering
from scene.training.validation import Validation, Validator


@dataclass(frozen=True, slots=True)
class Judgement:
    """What validation says of the weights at one step.

    Attributes:
        proxy: through the codec proxy.
        encoder: through x264, where that was due.
        figure: the lower the better: the BD-rate of `EncoderValidation.objective` in a run that has it, else the loss.
        comparable: whether there is such a figure; in a run with x264, steps without it have none.
    """

    proxy: Validation
    encoder: EncoderValidation | None
    figure: float
    comparable: bool


class Judge:
    """Validates weights on held-out frames, through x264 where the configuration says so.

    Args:
        config: see there.
        held_out: frames that training never sees.
        steering: their embeddings, for a network that takes any.
        encoder: that gave them.
        loss: of the training.
        device: of the training.

    Raises:
        InputError: no usable frame.
        MissingError: x264 is asked for and there is no ffmpeg that has it.
    """

    def __init__(
        self,
        config: TrainingConfig,
        held_out: FrameSource,
        steering: Steering | None,
        encoder: SemanticEncoder | None,
        loss: CodecLoss,
        device: torch.device,
    ) -> None:
        self._loss = loss
        self._device = device
        self._encoder = encoder
        self._precision = config.run.precision
        self._every = config.validation.encode_every
        self._validator = Validator(held_out, config, steering)
        self._x264 = EncoderValidator(held_out, config.validation) if self._every else None

    def __call__(self, network: Network, step: int, *, last: bool) -> Judgement:
        """Judges a network in eval mode; x264 takes part every `encode_every` steps and after the last."""
        proxy = self._validator(network, self._loss, self._device)
        if self._x264 is None:
            return Judgement(proxy, None, proxy.loss, math.isfinite(proxy.loss))
        if step % self._every and not last:
            return Judgement(proxy, None, math.inf, False)
        semantics = None
        if network.semantics is not None:
            control = network.semantics.control
            semantics = SemanticGuide(self._encoder if control == "embedding" else None, control, "")

        conditioned = network.config.quantiser is not None
        # A network that is told the quantiser enhances every clip several times.
        precision = self._precision if conditioned else "float32"

        def enhance(pictures: list[Picture], encoder_step: float | None) -> list[Picture]:
            # An enhancer a clip: each is a video of its own.
            enhancer = Enhancer(
                network, device=self._device.type, semantics=semantics, step=encoder_step, precision=precision
            )
            starts = range(0, len(pictures), enhancer.batch)
            return [done for start in starts for done in enhancer(pictures[start : start + enhancer.batch])]

        reading = self._x264(enhance, conditioned)
        return Judgement(proxy, reading, reading.objective, math.isfinite(reading.objective))
