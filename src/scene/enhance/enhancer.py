"""The network as a function on pictures.

What a network changes is added to the source as a whole number of codes, so that samples which it leaves
alone are the source's own in every format, and an identity network is a bit-exact bypass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from scene.enhance.arrays import stream_array, stream_tensor
from scene.enhance.bank import bank_change, changed_bytes
from scene.enhance.cadence import EmbeddingCadence
from scene.enhance.colour import (
    add_code_delta,
    gbr_luma,
    gbr_to_rgb,
    luma_scale,
    pad_to_multiple,
    picture_rgb,
    plane_scales,
    rgb_delta_to_gbr,
    rgb_delta_to_studio,
    studio_luma,
    subsample_chroma,
)
from scene.enhance.device import resolve_device
from scene.enhance.semantics import embed_picture, open_conditioner
from scene.errors import UsageError
from scene.model.bank import bank_change as tensor_bank_change
from scene.model.calibration import Calibration
from scene.options import DEFAULT_SEMANTIC_INTERVAL, RuntimeName, TemporalMode
from scene.picture import Picture, PictureFormat, Plane
from scene.runtimes import open_runtime, settled_runtime
from scene.temporal import TemporalFilter
from scene.temporal.filter import REACH
from scene.temporal.shots import ShotDetector

if TYPE_CHECKING:
    from scene.model import Network
    from scene.model.semantics import Conditioner
    from scene.video.pixel_format import VideoFrame


class Enhancer:
    """Runs a model over pictures: out = clip(in + round(strength * change(x) * scale)), in codes.

    The change is that of the network, of the calibration's bank, or both. A calibration with a temporal filter has
    pictures filtered along the motion before everything else.

    Args:
        network: of `scene.model`; it is moved to the device and set to evaluation.
        strength: how much of the change to apply; 0 leaves every picture as it is, values above 1 exaggerate, but for
            the temporal filter.
        calibration: how the network is applied before the encoder to come; see `calibration_for`.
        temporal: whether the calibration's temporal filter is used, and looks ahead.
        device: "auto", "cpu" or "cuda".
        semantics: what conditions a network that takes embeddings; see `open_conditioner`, which is asked where none is
            given. Networks without embeddings ignore it.
        interval: frames between two embeddings within a shot; see `EmbeddingCadence`.
        step: quantiser step of the encoder to come, in 8-bit code values, for a quantiser-conditioned network; see
            `conditioning_step`, and for a calibration with a bank or a temporal filter. Others ignore it.
        runtime: what computes the network; see `scene.runtimes`. No change stays none in bfloat16,
            and others differ by one or two hundredths of themselves.

    Attributes:
        focus: makes each picture, as it was before network and bank and after them, one that is smoother where it does
            not matter; see `scene.importance.smoothing`. None for nothing.

    An enhancer follows one video from its first frame on: where the network is conditioned on embeddings, what it does
    to a frame depends on the shot's frames before. The next frames come as arrays (`enhance`), as an iterator of
    pictures (`stream`), or as one batch of pictures (a call).

    Raises:
        UsageError: the strength is negative or not finite, the step is not positive or is missing where the network is
            conditioned on it, or the device is unknown.
        InputError, CheckpointError, MissingError: the device or the semantic encoder is missing.
    """

    def __init__(
        self,
        network: Network,
        *,
        strength: float = 1.0,
        calibration: Calibration | None = None,
        temporal: TemporalMode = "auto",
        device: str = "auto",
        semantics: Conditioner | None = None,
        interval: int = DEFAULT_SEMANTIC_INTERVAL,
        step: float | None = None,
        runtime: RuntimeName = "torch",
    ) -> None:
        if not math.isfinite(strength) or strength < 0:
            raise UsageError(f"strength {strength} makes no sense; give 0 (no change) to about 2.")
        if step is not None and not (math.isfinite(step) and step > 0):
            raise UsageError(f"quantiser step {step} makes no sense; give 8-bit code values, such as 20.")
        if step is None and network.config.quantiser is not None:
            raise UsageError(
                f"model {network.identity} is conditioned on the encoder's quantiser step, and none was given."
            )
        if step is None and calibration is not None and (calibration.bank or calibration.temporal is not None):
            raise UsageError(f"the calibration of {network.identity} needs the quantiser step of the encoder to come.")
        if calibration is not None and calibration.bank and network.config.planes != "luma":
            raise UsageError(f"model {network.identity} works on {network.config.planes}, and a bank on luma only.")
        self.device = resolve_device(device)
        self.strength = strength
        self.focus: Callable[[Picture, Picture], Picture] | None = None
        self._calibration = calibration or Calibration()
        self._temporal: TemporalFilter | None = None
        if self._calibration.temporal is not None and temporal != "off":
            # Without a look ahead, as many before.
            before = self._calibration.neighbours if temporal == "auto" else REACH
            after = before if temporal == "auto" else 0
            self._temporal = TemporalFilter(
                0, strength=min(strength, 1), before=before, after=after, device=self.device
            )
        self._semantics: Conditioner | None = None
        if network.config.guidance == "embedding":
            self._semantics = semantics or open_conditioner(network, device=device)
        self._cadence = EmbeddingCadence(interval)
        self.identity = network.identity
        # What conditions the network, where something does.
        self.guide = "" if self._semantics is None else self._semantics.identity
        self.conditioned = network.config.quantiser is not None
        self.step_factor = self._calibration.step
        # Pictures a call that keep the device busy; more only costs memory and delay.
        self.batch = 4 if self.device.type == "cuda" else 1
        self._planes = network.config.planes
        self._step: torch.Tensor | None = None
        if step is not None:
            self._take_step(step)
        self._has_body = network.config.body
        self._network = network.eval().to(self.device)
        self.runtime = settled_runtime(network, runtime, self.device)
        self._compute = open_runtime(self._network, self.runtime, self.device)

    def check(self, fmt: PictureFormat) -> None:
        """Raises UsageError if this network cannot enhance pictures of this format."""
        if self._planes == "rgb" and fmt.matrix == "other" and fmt.chroma != "400":
            raise UsageError("this model works on RGB, to which the source's matrix does not lead; use another.")
        if self._planes == "yuv420" and fmt.chroma != "420":
            raise UsageError(f"this model takes 4:2:0 video only, and the source is {_chroma_name(fmt)}.")

    @property
    def filters_in_time(self) -> bool:
        """Whether there is a temporal filter."""
        return self._temporal is not None

    def set_quantiser_step(self, step: float) -> None:
        """Takes another quantiser step than that of the beginning, before the first picture."""
        self._take_step(step)

    def _take_step(self, step: float) -> None:
        self._step = torch.tensor([step], device=self.device)
        if self._temporal is not None:
            self._temporal.sigma = self._calibration.sigma(step)

    def start_shot(self) -> None:
        """The next picture begins a shot. Callers that leave pictures out must call this at each shot that they find.

        What is done to a shot depends on its pictures from the first on; shots in an unbroken sequence are detected.
        """
        self.renew_embedding()
        if self._temporal is not None:
            self._temporal.start_shot()

    def renew_embedding(self) -> None:
        """The next picture begins a shot for `enhance_filtered`, which may not see all that `filter_in_time` sees."""
        self._cadence.start_shot()

    def look_around(self, index: int) -> tuple[int, int]:
        """How many pictures before and after one `filter_in_time` needs, so that it becomes what it is in the video.

        Args:
            index: of the picture within its shot, as the temporal filter counts.
        """
        return (0, 0) if self._temporal is None else self._temporal.look_around(index)

    def embedding_shots(self, pictures: Iterable[Picture]) -> Iterator[bool] | None:
        """Of each picture of a whole video, whether it begins a shot for the embeddings; None without any.

        An enhancer that has done this can only `follow` then.
        """
        if self._semantics is None:
            return None
        detector = ShotDetector()
        return (detector.begins(studio_luma(picture)) for picture in self.filter_in_time(pictures))

    def follow(self, shots: Iterable[bool], embedding_shots: Iterable[bool] = ()) -> None:
        """The next pictures are from the middle of a video whose shots are known.

        Args:
            shots: of each picture for `filter_in_time`, whether it is the first of a shot.
            embedding_shots: the same of each picture for `enhance_filtered` or `embed`.
        """
        if self._temporal is not None:
            self._temporal.follow(shots)
        self._cadence.follow(embedding_shots)

    def embed(self, filtered: Iterable[Picture]) -> None:
        """Sees pictures of a shot before those that are enhanced, for the embedding alone."""
        with torch.inference_mode():
            for picture in filtered:
                self._embeddings([picture], studio_luma(picture).to(self.device))

    def stream(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Enhances pictures of one format, in order.

        It takes `batch` of them before it gives the first of those, and two more for a temporal filter that looks
        ahead. Where one video comes in several calls, the last pictures of each are filtered without those to come.

        Raises:
            UsageError: see `check`.
            ValueError: the pictures of a batch differ in format.
        """
        return self.enhance_filtered(self.filter_in_time(pictures))

    def filter_in_time(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """The temporal filter alone, where there is one: the first half of `stream`."""
        return iter(pictures) if self._temporal is None else self._temporal.stream(pictures)

    def enhance_filtered(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Everything but the temporal filter: the second half of `stream`."""
        remaining = iter(pictures)
        while batch := list(islice(remaining, self.batch)):
            yield from self(batch)

    @overload
    def enhance(self, frames: npt.NDArray[Any]) -> npt.NDArray[Any]: ...
    @overload
    def enhance(self, frames: torch.Tensor) -> torch.Tensor: ...
    @overload
    def enhance(self, frames: Iterable[VideoFrame]) -> list[VideoFrame]: ...
    def enhance(
        self, frames: npt.NDArray[Any] | torch.Tensor | Iterable[VideoFrame]
    ) -> npt.NDArray[Any] | torch.Tensor | list[VideoFrame]:
        """Enhances the next frames of a video, any number at once, and gives back as many of the same kind.

        Args:
            frames: R'G'B' as a NumPy array (N, H, W, 3) of uint8, uint16, or floats in [0, 1]; R'G'B' as a torch tensor
                (N, 3, H, W) or (N, H, W, 3) of uint8 or floats in [0, 1], on any device; or PyAV's `VideoFrame`s, in
                any format that `scene.encode` takes.

        Returns:
            New frames; the given ones stay as they are. Arrays and tensors keep shape, dtype and device; what is added
            to floats is a whole number of 1/65535, and the result is clipped to [0, 1]. `VideoFrame`s keep their time
            stamp, its unit, duration, colour tags and pixel format, but interleaved samples become planar.

        Raises:
            UsageError: another kind, shape or dtype, values that are not finite, or see `check`.
            InputError: a pixel format that is not supported.
        """
        if isinstance(frames, np.ndarray):
            return stream_array(self.stream, frames)
        if isinstance(frames, torch.Tensor):
            return stream_tensor(self.stream, frames)
        # PyAV is loaded only where its frames are.
        from scene.video.pixel_format import frame_pictures, with_picture

        given = list(frames)
        return [with_picture(*pair) for pair in zip(given, self.stream(frame_pictures(given)), strict=True)]

    def __call__(self, pictures: Sequence[Picture]) -> list[Picture]:
        """Enhances a batch of pictures of one format and gives as many, in order, of the same format.

        Planes that the network does not touch (chroma under a luma network) are the input's own arrays.

        Raises:
            UsageError: see `check`.
            ValueError: the pictures differ in format.
        """
        made = self._made(pictures)
        if self.focus is None:
            return made
        return [self.focus(*pair) for pair in zip(pictures, made, strict=True)]

    def _made(self, pictures: Sequence[Picture]) -> list[Picture]:
        """What network and bank make of a batch."""
        if not pictures or self.strength == 0 or not (self._has_body or self._calibration.bank):
            return list(pictures)
        fmt = pictures[0].format
        if any(picture.format != fmt for picture in pictures):
            raise ValueError("all pictures of a batch must have one format")
        self.check(fmt)
        if not self._has_body and self.device.type == "cpu" and fmt.bit_depth == 8 and fmt.matrix != "rgb":
            return [self._changed_bytes(picture) for picture in pictures]
        with torch.inference_mode():
            changed = self._changed_planes(pictures, fmt)
        return [
            Picture(fmt, (*(plane[index] for plane in changed), *picture.planes[len(changed) :]))
            for index, picture in enumerate(pictures)
        ]

    def _changed_planes(self, pictures: Sequence[Picture], fmt: PictureFormat) -> list[Plane]:
        """The first one or three planes of all pictures after the network, each (N, H, W)."""
        scales = plane_scales(fmt)
        if self._planes == "luma" and fmt.matrix != "rgb":
            scales = scales[:1]
        # Integers cross to the device and become floats there: a quarter of the traffic.
        codes = [
            torch.from_numpy(np.stack([picture.planes[index] for picture in pictures])).to(self.device)[:, None]
            for index in range(len(scales))
        ]
        studio = [scale.to_studio(plane) for scale, plane in zip(scales, codes, strict=True)]
        luma = gbr_luma(studio) if fmt.matrix == "rgb" else studio[0]
        deltas = self._delta(studio, luma, fmt, self._embeddings(pictures, luma))
        result: list[Plane] = []
        for plane, delta, scale in zip(codes, deltas, scales, strict=True):
            out = add_code_delta(plane, scale.to_code_delta(delta * self.strength), fmt.bit_depth)
            result.append(cast(Plane, out[:, 0].cpu().numpy()))
        return result

    def _embeddings(self, pictures: Sequence[Picture], luma: torch.Tensor) -> torch.Tensor | None:
        """What conditions the network on each picture, (N, D, h, w), or (1, D, h, w) where it is the same for all."""
        semantics = self._semantics
        if semantics is None:
            return None
        embeddings = []
        for index, picture in enumerate(pictures):
            # Deferred: most frames keep the embedding of an earlier one, and need no colour.
            embeddings.append(
                self._cadence.next(
                    luma[index : index + 1], partial(embed_picture, semantics, self._network, picture, self.device)
                )
            )
        if all(embedding is embeddings[0] for embedding in embeddings):
            return embeddings[0]
        return torch.cat(embeddings)

    def _delta(
        self, studio: list[torch.Tensor], luma: torch.Tensor, fmt: PictureFormat, embedding: torch.Tensor | None
    ) -> Sequence[torch.Tensor]:
        """The network's change of each plane on the studio scale, shapes as given."""
        if self._planes == "luma":
            # At constant colour difference, as in Y'CbCr, all of R', G' and B' change by what luma does.
            return [self._change(luma, embedding)] * len(studio)
        if fmt.matrix == "rgb":
            return rgb_delta_to_gbr(self._change(gbr_to_rgb(studio), embedding))
        if self._planes == "yuv420":
            x = torch.cat([F.pixel_unshuffle(pad_to_multiple(luma, 2, 2), 2), *studio[1:]], dim=1)
            delta = self._change(x, embedding)
            full = F.pixel_shuffle(delta[:, :4], 2)[..., : fmt.height, : fmt.width]
            return [full, delta[:, 4:5], delta[:, 5:6]]
        x = picture_rgb(studio, fmt)
        # Only grey may come with a matrix that does not matter.
        matrix = "bt709" if fmt.matrix == "other" else fmt.matrix
        y, cb_delta, cr_delta = rgb_delta_to_studio(self._change(x, embedding), matrix)
        return [y, subsample_chroma(cb_delta, fmt), subsample_chroma(cr_delta, fmt)][: len(studio)]

    def _change(self, x: torch.Tensor, embedding: torch.Tensor | None) -> torch.Tensor:
        if not self._has_body:
            change = torch.zeros_like(x)
        else:
            change = self._compute(x, embedding, self._step) - x
            if self._calibration.strength != 1:
                change = change * self._calibration.strength
        if self._calibration.bank:
            change = change + self._bank_change(x)
        return change

    def _changed_bytes(self, picture: Picture) -> Picture:
        """A picture of bytes after the bank, of a model that has nothing else."""
        assert self._step is not None
        scale = luma_scale(picture.format).gain * 255
        luma = changed_bytes(picture.planes[0], self._calibration.bank, float(self._step), scale, self.strength)
        return Picture(picture.format, (luma, *picture.planes[1:]))

    def _bank_change(self, luma: torch.Tensor) -> torch.Tensor:
        """(N, 1, H, W) on the studio scale to the bank's change of it."""
        assert self._step is not None
        bank = self._calibration.bank
        if self.device.type == "cuda":
            return tensor_bank_change(luma * 255, bank, self._step) / 255
        step = float(self._step)
        changes = [bank_change(picture, bank, step) for picture in (luma[:, 0] * 255).cpu().numpy()]
        return torch.from_numpy(np.stack(changes))[:, None].to(luma) / 255


def _chroma_name(fmt: PictureFormat) -> str:
    return "grey" if fmt.chroma == "400" else "RGB" if fmt.matrix == "rgb" else ":".join(fmt.chroma)
