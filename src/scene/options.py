"""What can be set of an enhancement, wherever one is made. The command line shows each field's line as its help."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda"]
TemporalMode = Literal["auto", "off", "causal"]
RuntimeName = Literal["auto", "torch", "torch-bf16", "openvino", "openvino-bf16"]

FocusBy = Literal["encoder", "picture", "both"]

DEFAULT_MODEL = "scene-lite"
# Frames between two looks for what matters: half a second. Motion alone loses an object in a second or two.
LOOK_EVERY = 12
# The model that is none.
BYPASS = "none"
# The best model that keeps up with the encoder, where both are known: `scene.jobs.model_choice`.
AUTO_MODEL = "auto"
# One embedding a shot: with every renewal kernels change, and what they do to a still picture flickers.
DEFAULT_SEMANTIC_INTERVAL = 0


# Maps that are no file: what the shipped semantic encoder finds, and that subjects tend to be in the middle.
FOUND, CENTRE = "auto", "centre"


@dataclass(frozen=True, slots=True)
class FocusOptions:
    """Whether bits are moved to what matters."""

    focus: float = 0.0
    """How far to move bits from the rest of the picture to what matters, from 0 (not at all) to 1."""

    focus_map: str = FOUND
    """What matters: auto for what the shipped semantic encoder finds, centre, or a video with a picture for each frame,
    white where it matters."""

    focus_by: FocusBy = "encoder"
    """How bits are moved: by telling the encoder, if it heeds that, by smoothing the rest of the picture, or both."""

    focus_interval: int = LOOK_EVERY
    """Frames from one look of the semantic encoder to the next within a shot, 0 for one look a shot. In between the map
    follows the motion."""

    @property
    def told(self) -> float:
        """How far the encoder is to move bits."""
        return 0.0 if self.focus_by == "picture" else self.focus

    @property
    def smoothed(self) -> float:
        """How far the picture is to."""
        return 0.0 if self.focus_by == "encoder" else self.focus


@dataclass(frozen=True, slots=True)
class EnhanceOptions:
    """Which network changes frames, and how."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model (see `scene models`), a .safetensors file, none to leave frames unchanged, or with `scene
    encode` auto for the best model that keeps up with the encoder here, by a trial of some frames."""

    strength: float = 1.0
    """How much of the model's change to apply; 0 changes nothing."""

    semantics: str = "auto"
    """Semantic encoder of a model that takes embeddings: auto for the one it was trained with, the name, file or folder
    of another, or a control: none, constant, random, shuffled."""

    semantic_interval: int = DEFAULT_SEMANTIC_INTERVAL
    """Frames between two embeddings within a shot; 0 for one a shot."""

    temporal: TemporalMode = "auto"
    """Filter along the motion before the model: auto where the model is calibrated with one, two frames ahead; causal
    for the same without waiting for frames to come; off for none."""

    device: DeviceName = "auto"
    """Where the model runs."""

    runtime: RuntimeName = "auto"
    """What computes a network on the processor: torch or openvino, with -bf16 in bfloat16; auto for the one
    that `scene bench runtimes` found fastest here, or torch."""

    @property
    def changes_nothing(self) -> bool:
        """Whether frames stay as they are, and no network need be loaded."""
        return self.model == BYPASS or self.strength == 0

    def without_look_ahead(self) -> EnhanceOptions:
        """The same with a temporal filter, where there is one, that does not wait for frames to come."""
        return replace(self, temporal="causal") if self.temporal == "auto" else self
