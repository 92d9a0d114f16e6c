"""The quantiser step that belongs to an encoder's CRF, for networks that are told it (beyond the paper).

An encoder moves its quantiser around what the CRF says, from frame to frame and from block to block. A network is told
the middle of that, which is one number for a whole video and needs no encoder to be asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scene.errors import UsageError

# H.264 and its successors: the step doubles every six QPs, and is 0.625 at QP 0 on the scale of an orthonormal DCT.
_STEP_AT_ZERO = 0.625
_STEPS_PER_OCTAVE = 6
# With the highest CRF or QP that each takes. NVENC's constant quality is put on the same scale, for AV1 too: none of
# its steps was measured.
_OCTAVE_CODECS = {"x264": 51, "x265": 51, "vvenc": 63, "nvenc-h264": 51, "nvenc-hevc": 51, "nvenc-av1": 63}

# AV1's AC quantiser for 8 bits at the qindex of CRF 0, 1, ..., 63: every fourth, and at the end 249 and 255. AV1
# specification, section 7.12.2; in eighths of a step.
_AV1_STEPS = (
    *(
        4,
        11,
        15,
        19,
        23,
        27,
        31,
        35,
        39,
        43,
        47,
        51,
        55,
        59,
        63,
        67,
        71,
        75,
        79,
        83,
        87,
        91,
        95,
        99,
        104,
        112,
        120,
        128,
    ),
    *(136, 144, 152, 164, 176, 188, 200, 215, 231, 247, 265, 285, 305, 329, 353, 380, 408, 440, 474, 510, 550, 593),
    *(639, 689, 743, 801, 864, 933, 1007, 1087, 1173, 1267, 1369, 1479, 1628, 1828),
)
_AV1_UNIT = 8


@dataclass(frozen=True, slots=True)
class EncoderFit:
    """How a network that is told the quantiser is used before an encoder that it was not trained for.

    Attributes:
        step: factor on the encoder's own step, for what the network is told.
        strength: factor on the network's change.
    """

    step: float = 1.0
    strength: float = 1.0


# Networks are trained through a proxy of x264's kind. SVT-AV1 keeps far more of a picture at the same step, with larger
# transforms, better prediction and filters in its loop: measured on held-out photographs, docs/labbook.md.
_FITS = {"svtav1": EncoderFit(step=0.25, strength=0.5)}


def fit_of(codec: str) -> EncoderFit:
    """The fit of an encoder; of x264, and of those for which none was measured, the identity."""
    return _FITS.get(codec, EncoderFit())


def conditioning_step(codec: str, crf: float) -> float:
    """The step that a network is told for an encode; arguments and errors as for `step_of`."""
    return step_of(codec, crf) * fit_of(codec).step


def step_of(codec: str, crf: float) -> float:
    """The quantiser step of a CRF, of a QP with vvenc, in 8-bit code values whatever the video's own depth.

    Args:
        codec: x264, x265, svtav1 or vvenc.
        crf: fractions count; with svtav1 from 0 to 63, between two whole CRFs in proportion.

    Raises:
        UsageError: an unknown codec, or a CRF that it does not have.
    """
    if not math.isfinite(crf):
        raise UsageError(f"CRF {crf} makes no sense.")
    if codec in _OCTAVE_CODECS:
        if not 0 <= crf <= _OCTAVE_CODECS[codec]:
            raise UsageError(f"CRF {crf:g} is not in {codec}'s range of 0 to {_OCTAVE_CODECS[codec]}.")
        return float(_STEP_AT_ZERO * 2 ** (crf / _STEPS_PER_OCTAVE))
    if codec != "svtav1":
        raise UsageError(
            f"the quantiser of codec {codec!r} is unknown; choose from {', '.join(_OCTAVE_CODECS)}, svtav1."
        )
    last = len(_AV1_STEPS) - 1
    if not 0 <= crf <= last:
        raise UsageError(f"CRF {crf:g} is not in svtav1's range of 0 to {last}.")
    below = min(int(crf), last - 1)
    low, high = _AV1_STEPS[below : below + 2]
    return (low + (crf - below) * (high - low)) / _AV1_UNIT
