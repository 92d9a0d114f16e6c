"""Which network runs on a video's frames, and how: from names to an enhancer that fits source and encoder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scene.errors import UsageError
from scene.picture import PictureFormat
from scene.video.hdr import HDR_TRANSFERS

if TYPE_CHECKING:
    from scene.enhance import Enhancer

log = logging.getLogger(__name__)

DEFAULT_MODEL = "scene"
# That of scene.enhance, which is not imported here since it loads torch.
DEFAULT_SEMANTIC_INTERVAL = 0
BYPASS = "none"


@dataclass(frozen=True, slots=True)
class Enhancement:
    """What to do to frames.

    Attributes:
        model: a name or a weights file; "none" leaves frames as they are.
        strength: how much of the model's change to apply; 0 is the same as model "none".
        semantics: what steers a model that takes semantic embeddings; see `scene.enhance.open_conditioner`.
        semantic_interval: frames between two embeddings within a shot; see `scene.enhance.EmbeddingCadence`.
        device: "auto", "cpu" or "cuda".
    """

    model: str = DEFAULT_MODEL
    strength: float = 1.0
    semantics: str = "auto"
    semantic_interval: int = DEFAULT_SEMANTIC_INTERVAL
    device: str = "auto"

    @property
    def changes_nothing(self) -> bool:
        """Whether frames stay as they are, and no network need be loaded."""
        return self.model == BYPASS or self.strength == 0


def open_enhancer(enhancement: Enhancement, codec: str, crf: float | None, fmt: PictureFormat) -> Enhancer | None:
    """The enhancer of frames that an encoder takes afterwards; None where frames stay as they are.

    Args:
        codec: of the encoder to come, see `scene.video.encoders.quantiser`.
        crf: of it, None where it is not known.
        fmt: of the frames.

    Raises:
        UsageError: arguments that cannot be meant, also a CRF that is not known where the model is told it.
        InputError, CheckpointError, MissingError: the model, its semantic encoder or the device is not to be had.
    """
    if enhancement.changes_nothing:
        return None
    # Torch takes seconds to import, and a bypass does without.
    from scene.enhance import Enhancer, open_conditioner
    from scene.model import load_model
    from scene.video.encoders.quantiser import conditioning_step, fit_of

    network = load_model(enhancement.model)
    guide = None
    if network.config.guidance == "embedding":
        guide = open_conditioner(network, enhancement.semantics, device=enhancement.device)
    elif enhancement.semantics != "auto":
        raise UsageError(f"model {network.identity} takes no semantic embedding; leave `semantics` out.")
    conditioned = network.config.quantiser is not None
    if conditioned and crf is None:
        raise UsageError(
            f"model {network.identity} is told how coarsely the encoder to come will quantise; give `codec` and `crf` "
            "of that encoder."
        )
    enhancer = Enhancer(
        network,
        strength=enhancement.strength * (fit_of(codec).strength if conditioned else 1.0),
        device=enhancement.device,
        semantics=guide,
        interval=enhancement.semantic_interval,
        step=None if crf is None else conditioning_step(codec, crf),
    )
    enhancer.check(fmt)
    return enhancer


def warn_of_hdr(name: str, transfer: int) -> None:
    """Logs a warning where a model is to enhance a source with a transfer function of HDR."""
    hdr = HDR_TRANSFERS.get(transfer)
    if hdr:
        log.warning("%s is HDR (%s), and models see SDR only in training; compare with `model` none.", name, hdr)
