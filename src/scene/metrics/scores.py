"""What is measured of a distorted clip, and how each figure is to be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of one distorted clip against its reference; means over frames unless something else is said.

    Attributes:
        vmaf: VMAF v0.6.1, not clipped; an identical clip scores 97 to 102.
        vmaf_clipped: the same with each frame clipped to [0, 100], as players of the field show it.
        vmaf_neg: VMAF NEG v0.6.1, at most 100.
        vmaf_v1: VMAF v1.0.16, at most 100.
        ms_ssim: MS-SSIM of the luma plane, at most 1.
        psnr_y: PSNR of the luma plane in dB, at most 60 for 8 bit.
        xpsnr_y: XPSNR of the luma plane in dB as ffmpeg's filter averages it; 100 for identical clips.
        cambi: banding, 0 (none) upwards.
        flicker: see `scene.metrics.flicker`, in 8-bit code values; None where nothing in the source stands still.
        frames: how many frames were compared.
    """

    vmaf: float
    vmaf_clipped: float
    vmaf_neg: float
    vmaf_v1: float
    ms_ssim: float
    psnr_y: float
    xpsnr_y: float
    cambi: float
    flicker: float | None
    frames: int


@dataclass(frozen=True, slots=True)
class Metric:
    """How one of the scores is shown and used.

    Attributes:
        name: the attribute of `Scores`.
        title: for people.
        unit: empty for a plain number.
        better: which direction is better.
        decimals: that are worth showing.
        bd_rate: whether BD-rate is taken over it.
        per_frame: whether it is kept for every frame.
    """

    name: str
    title: str
    unit: str = field(default="", kw_only=True)
    better: Better = field(default="higher", kw_only=True)
    decimals: int = field(default=2, kw_only=True)
    bd_rate: bool = field(default=True, kw_only=True)
    per_frame: bool = field(default=True, kw_only=True)


METRICS = (
    Metric("vmaf", "VMAF"),
    Metric("vmaf_neg", "VMAF NEG"),
    Metric("vmaf_v1", "VMAF v1"),
    Metric("ms_ssim", "MS-SSIM", decimals=4),
    Metric("psnr_y", "PSNR", unit="dB"),
    Metric("xpsnr_y", "XPSNR", unit="dB"),
    Metric("cambi", "CAMBI", better="lower", bd_rate=False),
    Metric("flicker", "flicker", better="lower", decimals=3, bd_rate=False, per_frame=False),
)
# What a mask adds, see `scene.metrics.regions`; PSNR of the whole frame is `psnr_y`.
REGION_METRICS = (
    Metric("psnr_inside", "PSNR inside", unit="dB", per_frame=False),
    Metric("ssim_inside", "SSIM inside", decimals=4, per_frame=False),
    Metric("psnr_outside", "PSNR outside", unit="dB", per_frame=False),
    Metric("ssim_outside", "SSIM outside", decimals=4, per_frame=False),
    Metric("ssim_whole", "SSIM whole", decimals=4, per_frame=False),
)
BD_METRICS = tuple(metric.name for metric in METRICS if metric.bd_rate)
FRAME_METRICS = tuple(metric.name for metric in METRICS if metric.per_frame)
