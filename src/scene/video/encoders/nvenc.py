"""NVENC, the encoders of NVIDIA's GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from scene.video.encoders.base import Encoder

if TYPE_CHECKING:
    from scene.video.encoders.settings import EncoderSettings

# NVENC takes deeper samples in this layout only.
_SEMI_PLANAR = {"yuv420p10le": "p010le"}


class Nvenc(Encoder):
    """What the three share. Constant quality (cq) stands for the CRF: none of its steps was measured."""

    min_crf = 1
    max_crf = 51
    default_preset = "p4"
    presets = tuple(f"p{number}" for number in range(1, 8))
    params_option = None
    is_hardware = True
    signals_hdr10 = False
    live_args = "tune=ll:delay=0:bf=0:forced-idr=1"
    live_preset = "p3"
    refused_args: Mapping[str, str] = {
        **dict.fromkeys(("cq", "crf", "qp"), "use `crf`"),
        **dict.fromkeys(("rc", "cbr"), "use `crf` or `bitrate`"),
        **dict.fromkeys(("b", "bitrate"), "use `bitrate`"),
        "preset": "use `preset`",
    }

    def pixel_format(self, planar: str, ffmpeg_name: str) -> str:
        """As `Encoder` has it."""
        return _SEMI_PLANAR.get(planar, planar)

    def rate_options(self, settings: EncoderSettings) -> dict[str, str]:
        """As `Encoder` has it."""
        if settings.bitrate is not None:
            return {"rc": "vbr", **super().rate_options(settings)}
        return {"rc": "vbr", "b": "0", "cq": f"{self.crf_of(settings):g}"}


class NvencH264(Nvenc):
    """NVENC for H.264."""

    name = "nvenc-h264"
    kin = ("x264",)
    ffmpeg_name = "h264_nvenc"
    default_crf = 23


class NvencHevc(Nvenc):
    """NVENC for HEVC."""

    name = "nvenc-hevc"
    kin = ("x265",)
    ffmpeg_name = "hevc_nvenc"
    default_crf = 28
    apple_tag = "hvc1"


class NvencAv1(Nvenc):
    """NVENC for AV1."""

    name = "nvenc-av1"
    kin = ("svtav1",)
    ffmpeg_name = "av1_nvenc"
    default_crf = 35
    max_crf = 63
    unheld_by = frozenset({"mov", "mpegts"})
    keeps_captions = False
