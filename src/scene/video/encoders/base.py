"""What an encoder is: names, ranges and defaults, and the ways in which encoders differ, each with its usual answer.

An encoder is a subclass in a file of its own and one line in `scene.video.encoders`. Nothing here runs one, so that a
command line can list and describe encoders without loading FFmpeg, NumPy or torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

from scene.errors import UsageError
from scene.video.encoders.params import Item, join_encoder_args, joined_items, mastering_text, plain_name

if TYPE_CHECKING:
    from scene.picture import PictureFormat
    from scene.video.encoders.settings import EncoderSettings
    from scene.video.hdr import HdrMetadata
    from scene.video.source.probe import SourceInfo

# Parameters that name a file to read: encoders carry on in silence, or with a line on stderr, where it is missing.
_READ = {"cqmfile", "lambda-file", "scaling-list", "film-grain", "aom-film-grain", "dhdr10-info", "zonefile"}
_READ_WORDS = {"scaling-list": {"default", "off"}}
# H.264 and its successors: the step doubles every six QPs, and is 0.625 at QP 0 on the scale of an orthonormal DCT.
_STEP_AT_ZERO = 0.625
_STEPS_PER_OCTAVE = 6


@dataclass(frozen=True, slots=True)
class StatisticsPass:
    """One of two passes: the first writes the encoder's statistics file, the second reads it."""

    number: Literal[1, 2]
    statistics: Path


@dataclass(frozen=True, slots=True)
class EncoderFit:
    """How a model is used before an encoder that it was neither trained nor calibrated for.

    Attributes:
        step: factor on the encoder's own step, for the step that conditions a network.
        strength: factor on a network's change, and on that of a bank.
        temporal: whether a temporal filter before the encoder pays; not where it filters along the motion itself.
    """

    step: float = 1.0
    strength: float = 1.0
    temporal: bool = True


class Encoder:
    """One encoder; the values here are those of most.

    Attributes:
        name: what users call it.
        ffmpeg_name: what FFmpeg calls it.
        default_crf, min_crf, max_crf: of the constant rate factor; of NVENC's constant quality (cq), of VVenC's QP.
        crf_step: how finely it takes a CRF.
        search_step, finest_search_crf: the CRFs that a search tries.
        next_rate_step: CRFs to one that costs or saves a third of the rate or so.
        params_option: FFmpeg's option for the encoder's own parameters; None where they are options themselves.
        needs_even_size: whether a subsampled direction must have an even size.
        is_external: whether it runs in the ffmpeg program, and not in this process.
        external_format, external_sources: FFmpeg's pixel format that it is given there, and those that fit into it.
        is_hardware: whether it is a GPU's.
        has_statistics: whether a second pass can use what a first one found.
        decoder: FFmpeg's name of the decoder for trials; None where some pictures cannot be encoded before the video,
            for a guard, a search or a first pass.
        quiet_params: without which it writes to stderr itself, past FFmpeg's log.
        one_thread_params: for one thread, where FFmpeg's own option is not enough.
        reports_settings: whether it writes its settings into its first packet.
        takes_regions: whether it heeds FFmpeg's regions of interest.
        corrects_in_silence: whether it takes numbers out of range as others without a word.
        refused_args: own parameters that are options of SCENE, or would contradict what SCENE sets, and why.
        ignores_case: whether it does not mind capitals in their names.
        ffmpeg_args: those that have to go to FFmpeg as options of its own.
        tunes, profiles: values of these parameters, where others are answered on stderr only; empty for any.
        numbers_not_files: of the parameters that name a file with other encoders.
        mastering_param, light_param: by which it signals HDR10's mastering display and content light; empty without.
        mastering_integers: whether the former is in SMPTE ST 2086's units, not in real numbers.
        last_primaries, last_matrix: of ITU-T H.273's numbers the last that it knows; later ones it leaves out in
            silence. None where it knows all.
        default_key_frames: its own interval of key frames, as a number of frames, or of seconds with an "s".
        endless_at_zero: whether an interval of 0 means that there is but one key frame.
        frames_for_dts: below so many frames its decoding times are uninitialised memory.
        lead_frames, part_options: to begin in the middle of a video with its rate control as it is in one go, it is
            given so many frames before, and with these options of FFmpeg's begins anew where a key frame is asked for.
        inverts_lead: whether these frames are given as negatives: where a key frame that is asked for is like the frame
            before it, the lookahead does not see what refers to it.
        any_crf_args: own parameters with which its headers do not depend on the CRF.
        fit: see `EncoderFit`.
        kin: encoders whose calibration serves a model that has none for this one.
        quality_name: what its `crf` is called.
        measured_crfs: the ladder of an evaluation; empty where it is not measured.
        measured_from: the lowest CRF of a ladder; a lossless one is none.
        measuring_args: own parameters that an evaluation adds to the defaults: one thread, since figures must not
            depend on the machine, and `{gop}` for the most frames from one key frame to the next.
        segment_args: own parameters with which a closed group of pictures begins every `{gop}` frames, and nowhere
            else; empty where there are none.
        peak_args: own parameters for a bitrate that shall not be above `{peak}` kbit/s over `{buffer}` kilobits.
        version_pattern: how it names its version, in its stream or in what it prints.
        raw_muxer: FFmpeg's muxer of its elementary stream, which is the suffix of such a file too.
        unheld_by: muxers that cannot hold its streams, whatever they say.
        apple_tag: codec tag that Apple's players ask for.
        signals_hdr10, keeps_captions, signals_aspect: whether its streams carry HDR10's metadata, closed captions,
            and the sample aspect ratio.
        projections: messages about a picture's projection that are carried over in the stream itself.
        cost: of encoding a picture with the default preset, roughly, where measuring it by all metrics is 1.
        aliases: names by which users know it beside FFmpeg's, such as that of its format.
        live_args, live_preset: own parameters with which it holds no frame back, and a preset that keeps up; None where
            it cannot encode live.
        live_rate_args: own parameters that such an encode needs beside these where it has a bitrate.
    """

    name: str
    ffmpeg_name: str
    default_crf: float
    max_crf: float
    default_preset: str
    presets: tuple[str, ...]
    params_option: str | None
    min_crf: float = 0
    crf_step: float = 0.1
    search_step: float = 0.5
    finest_search_crf: float = 0
    next_rate_step: float = 3
    needs_even_size: bool = True
    is_external: ClassVar[bool] = False
    external_format: str = ""
    external_sources: frozenset[str] = frozenset()
    is_hardware: ClassVar[bool] = False
    has_statistics: ClassVar[bool] = False
    decoder: str | None = None
    quiet_params: str = ""
    one_thread_params: str = ""
    reports_settings: ClassVar[bool] = False
    takes_regions: ClassVar[bool] = False
    corrects_in_silence: ClassVar[bool] = False
    refused_args: Mapping[str, str]
    ignores_case: ClassVar[bool] = False
    ffmpeg_args: tuple[str, ...] = ()
    tunes: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    numbers_not_files: frozenset[str] = frozenset()
    mastering_param: str = ""
    mastering_integers: ClassVar[bool] = True
    light_param: str = ""
    last_primaries: int | None = None
    last_matrix: int | None = None
    default_key_frames: str = "250"
    endless_at_zero: ClassVar[bool] = False
    frames_for_dts: int = 0
    lead_frames: int = 0
    part_options: Mapping[str, str] = MappingProxyType({})
    inverts_lead: ClassVar[bool] = False
    any_crf_args: Mapping[str, str] = MappingProxyType({})
    fit: EncoderFit = EncoderFit()
    kin: tuple[str, ...] = ()
    quality_name: str = "CRF"
    measured_crfs: tuple[float, ...] = ()
    measured_from: float = 0
    measuring_args: str = ""
    segment_args: str = ""
    peak_args: str = ""
    version_pattern: bytes = b""
    raw_muxer: str = ""
    unheld_by: frozenset[str] = frozenset()
    apple_tag: str | None = None
    signals_hdr10: bool = True
    keeps_captions: bool = True
    signals_aspect: bool = True
    projections: frozenset[str] = frozenset()
    cost: float = 0.5
    aliases: tuple[str, ...] = ()
    live_args: str | None = None
    live_preset: str | None = None
    live_rate_args: str = ""

    @property
    def has_trials(self) -> bool:
        """Whether some pictures can be encoded before the video, for a guard, a search or a first pass."""
        return self.decoder is not None

    def check_crf(self, crf: float, preset: str) -> None:
        """Raises UsageError for a CRF that the encoder does not have, or does not stand with a preset."""
        if not self.min_crf <= crf <= self.max_crf:
            scale = f"{self.min_crf:g} to {self.max_crf:g}"
            raise UsageError(f"`crf` {crf:g} is out of range; {self.name} takes {scale}.")

    def check_size(self, fmt: PictureFormat, settings: EncoderSettings) -> None:
        """Raises UsageError for pictures of a size that the encoder cannot encode with these settings."""

    def check_args(self, items: Iterable[Item]) -> None:
        """Refuses own parameters that are invalid beside what SCENE itself sets.

        Raises:
            UsageError: an option of SCENE's own, a file that would be written, or one to read that is not there.
        """
        for name, value in items:
            plain = plain_name(name)
            why = self.refused_args.get(plain.lower() if self.ignores_case else plain)
            if why:
                raise UsageError(f"`encoder_args` {name}={value} is not taken: {why}.")
            for option, known in (("tune", self.tunes), ("profile", self.profiles)):
                # Several may be joined by a comma.
                if name == option and known and not set(re.split("[,+]", value)) <= set(known):
                    raise UsageError(f"`encoder_args` {name}={value}: {self.name} has {', '.join(known)}.")
            reads = plain in _READ - self.numbers_not_files and value not in _READ_WORDS.get(plain, ())
            if reads and not Path(value).is_file():
                raise UsageError(f"`encoder_args` {name}={value}: there is no such file.")

    def split_args(self, items: Iterable[Item]) -> tuple[dict[str, str], list[Item]]:
        """What goes to FFmpeg as options of its own, and what goes to the encoder."""
        items = list(items)
        names = self.ffmpeg_args
        return {name: value for name, value in items if name in names}, [item for item in items if item[0] not in names]

    def coded_size(self, fmt: PictureFormat) -> tuple[int, int]:
        """(width, height) to encode: H.264 and HEVC cannot signal an odd size in a subsampled direction."""
        width, height = fmt.width, fmt.height
        if self.needs_even_size:
            if fmt.chroma in {"420", "422"}:
                width += width % 2
            if fmt.chroma == "420":
                height += height % 2
        return width, height

    def ffmpeg_name_for(self, fmt: PictureFormat) -> str:
        """What FFmpeg calls the encoder of pictures of a format."""
        return self.ffmpeg_name

    def pixel_format(self, planar: str, ffmpeg_name: str) -> str:
        """The encoder's name for samples of a planar pixel format, whether or not it takes them."""
        return planar

    def chroma_loss(self, location: str) -> str | None:
        """What is said where the place of chroma samples is lost."""
        return None

    def adapts_quantiser(self, settings: EncoderSettings) -> bool:
        """Whether the quantiser differs from place to place with these settings."""
        return True

    def rate_options(self, settings: EncoderSettings) -> dict[str, str]:
        """The bitrate or the CRF as FFmpeg's options."""
        if settings.bitrate is not None:
            return {"b": f"{settings.bitrate}k"}
        return {"crf": f"{self.crf_of(settings):g}"}

    def crf_of(self, settings: EncoderSettings) -> float:
        """The CRF of settings, the usual one where they have none."""
        return self.default_crf if settings.crf is None else settings.crf

    def source_options(self, info: SourceInfo) -> dict[str, str]:
        """FFmpeg's options that what a source carries asks for."""
        return {} if info.chroma_location is None else {"chroma_sample_location": info.chroma_location}

    def params(self, settings: EncoderSettings, info: SourceInfo) -> list[str]:
        """`key=value` of the encoder's own that SCENE sets, before the user's."""
        return [self.quiet_params, *self.hdr_params(info.hdr)]

    def hdr_params(self, hdr: HdrMetadata) -> list[str]:
        """`key=value` parameters by which the encoder signals HDR10's metadata."""
        params = []
        if hdr.mastering and self.mastering_param:
            params.append(f"{self.mastering_param}={mastering_text(hdr.mastering, integers=self.mastering_integers)}")
        if hdr.content_light and self.light_param:
            params.append(f"{self.light_param}={hdr.content_light[0]},{hdr.content_light[1]}")
        return params

    def options(
        self, settings: EncoderSettings, info: SourceInfo, statistics_pass: StatisticsPass | None = None
    ) -> dict[str, str]:
        """The options of the encoder in FFmpeg's terms; the user's own parameters come last and win."""
        options = {
            "preset": settings.preset or self.default_preset,
            **self.rate_options(settings),
            **self.source_options(info),
        }
        items = joined_items(settings.encoder_args)
        if self.params_option is None:
            return {**options, **dict(items)}
        own, items = self.split_args(items)
        params = self.params(settings, info)
        if statistics_pass is not None:
            stats = [("pass", str(statistics_pass.number)), ("stats", str(statistics_pass.statistics))]
            params.append(join_encoder_args(stats))
        joined = ":".join(filter(None, [*params, join_encoder_args(items)]))
        if joined:
            options[self.params_option] = joined
        return {**options, **own}

    def quantiser_step(self, crf: float) -> float:
        """The quantiser step of a CRF, of a QP with VVenC, in 8-bit code values whatever the video's own depth.

        An encoder moves its quantiser around what the CRF says, from frame to frame and from block to block. This is
        the middle of that, one number for a whole video, for which no encoder need be asked.

        Raises:
            UsageError: a CRF that the encoder does not have.
        """
        self._check_step(crf)
        return float(_STEP_AT_ZERO * 2 ** (crf / _STEPS_PER_OCTAVE))

    def _check_step(self, crf: float) -> None:
        if not math.isfinite(crf):
            raise UsageError(f"CRF {crf} makes no sense.")
        if not 0 <= crf <= self.max_crf:
            raise UsageError(f"CRF {crf:g} is not in {self.name}'s range of 0 to {self.max_crf:g}.")

    def constant_quantiser(self, items: Iterable[Item], bit_depth: int) -> float | None:
        """The constant quantiser that parameters ask for instead of a CRF, on the CRF's scale; None where they do not.

        Args:
            items: the encoder's own parameters.
            bit_depth: of the video.
        """
        for name, value in items:
            if name == "qp" and re.fullmatch(r"-?\d+", value):
                return max(0.0, float(value) - self.quantiser_offset(bit_depth))
        return None

    def quantiser_offset(self, bit_depth: int) -> int:
        """By how much constant quantisers of deeper samples lie above CRFs."""
        return 0

    def conditioning_crf(self, settings: EncoderSettings, bit_depth: int) -> float:
        """The CRF whose step conditions a network: of the parameters' constant quantiser, else of the settings."""
        fixed = self.constant_quantiser(joined_items(settings.encoder_args), bit_depth)
        return self.crf_of(settings) if fixed is None else min(fixed, self.max_crf)

    def equivalent_crf(self, quantisers: Sequence[float], reported: Mapping[str, str], bit_depth: int) -> float | None:
        """The CRF of which frames would have had such quantisers on the mean; None without any.

        Args:
            quantisers: of all frames.
            reported: what the encoder said of its settings.
            bit_depth: of the video.
        """
        if not quantisers:
            return None
        return min(max(sum(quantisers) / len(quantisers), 0.0), self.max_crf)

    def key_frame_interval(self, settings: EncoderSettings, rate: Fraction) -> float:
        """The most frames from one key frame to the next, infinite where a video has but one.

        Args:
            rate: frames per second.
        """
        given = dict(joined_items(settings.encoder_args)).get("keyint", "")
        if given in {"-1", "infinite"}:
            return math.inf
        match = re.fullmatch(r"([0-9]+)(s?)", given) or re.fullmatch(r"([0-9]+)(s?)", self.default_key_frames)
        assert match is not None
        frames = float(match[1]) * (float(rate) if match[2] else 1)
        return math.inf if frames == 0 and self.endless_at_zero else max(1.0, frames)

    def external_rate(self, info: SourceInfo) -> Fraction:
        """Frames per second as an encoder in the ffmpeg program is given them, whose frames come without times."""
        return info.rate

    def external_arguments(self, settings: EncoderSettings, info: SourceInfo) -> list[str]:
        """Its part of the ffmpeg program's arguments."""
        raise NotImplementedError

    def external_refusal(self, messages: Sequence[str], size: tuple[int, int]) -> str | None:
        """The sentence for arguments that it refuses, None where the program's messages have no reason."""
        return None

    def trail_frames(self, *, within_shot: bool) -> int:
        """Frames after a part of a video that it is given too, to plan the part's last ones as in one go.

        Args:
            within_shot: whether the shot goes on after the part.
        """
        return 0

    def spliced(self, packet: bytes) -> bytes:
        """The first packet of a part of a video, a key frame, as decoders want it behind another encoder's last."""
        return packet

    def header_args(self, parameter_sets: bytes) -> str:
        """Own parameters by which an encode of another rate has parameter sets like these."""
        return ""

    def without_messages(self, packet: bytes) -> bytes:
        """A packet without its supplemental messages; x264 and x265 write as much of them as a small picture has."""
        return packet

    def coded_bytes(self, packet: bytes) -> int:
        """Size of a packet without messages and, of a byte stream, without start codes."""
        return len(packet)
