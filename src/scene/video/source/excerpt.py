"""A few consecutive frames from anywhere in a file, as RGB."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream

from scene.errors import InputError
from scene.picture import Matrix, Picture
from scene.video.pixel_format import frame_picture, source_format
from scene.video.source.crop import Crop, declared_crop
from scene.video.source.open import open_input, reason
from scene.video.source.probe import best_video

# Where a seek lands past its goal, or in the middle of a group of pictures, it is tried again from so many seconds
# earlier, and at last (None) from the beginning of the file.
EARLIER_S: tuple[int | None, ...] = (0, 2, 10, None)
_COLOURSPACES: dict[Matrix, Colorspace] = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
    "fcc": Colorspace.FCC,
    "smpte240m": Colorspace.SMPTE240M,
}
# swscale's defaults round coarsely and drop every other chroma column on the way to RGB.
_SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

RgbImage = npt.NDArray[np.uint8]


def read_excerpt(path: Path, start: Fraction, count: int) -> list[RgbImage]:
    """Reads the first `count` frames shown at `start` or later; where fewer are left, the last `count` of the file.

    Frames follow each other as they are shown, whatever their time stamps, so that a varying frame rate does no harm.
    Colours are converted with the declared matrix and range (undeclared as in `scene.video.pixel_format`), the
    transfer function and a display rotation stay as they are. AVI stores times of decoding, so that with B-frames an
    excerpt of it begins a frame or two early.

    Args:
        path: a video file.
        start: in seconds from the first frame.
        count: frames, at least 1.

    Returns:
        Arrays of one shape (H, W, 3), full-range R'G'B'.

    Raises:
        InputError: the file cannot be read, holds fewer frames, or is damaged, interlaced, of changing size or of an
            unsupported pixel format there.
    """
    for earlier in EARLIER_S:
        # Before the first frame there is nothing to seek to.
        seek = None if earlier is None or start <= earlier else start - earlier
        found = _frames(path, start, count, seek)
        if found is not None:
            frames, crop = found
            images = [_shown(_rgb(frame, path), crop, path) for frame in frames]
            if len({image.shape for image in images}) > 1:
                raise InputError(f"{path}: the picture changes its size; split the file there first.")
            return images
        if seek is None:
            break
    raise InputError(f"{path} holds fewer than {count} frames that can be decoded; leave it out or repair it.")


def _frames(
    path: Path, start: Fraction, count: int, seek: Fraction | None
) -> tuple[deque[av.VideoFrame], Crop | None] | None:
    """Decodes from the key frame before `seek`, and says what is to be hidden; None if that gives no certain answer."""
    with open_input(path) as container:
        stream = best_video(container, path)
        crop = declared_crop(container, stream)
        # Excerpts are read by several processes at once; threads in each would only get in their way.
        stream.codec_context.thread_count = 1
        if seek is not None and not seek_before(container, stream, seek):
            return None
        window: deque[av.VideoFrame] = deque(maxlen=count)
        found = 0
        before = seek is None
        try:
            for packet in container.demux(stream):
                try:
                    decoded = stream.decode(packet if packet.size else None)
                except av.EOFError:
                    decoded = []
                except av.FFmpegError as error:
                    if found:
                        raise InputError(f"{path}: a frame cannot be decoded ({reason(error)}).") from None
                    # Before the window, as in a group of pictures whose beginning was jumped over.
                    window.clear()
                    continue
                for frame in decoded:
                    time = shown_at(frame, stream)
                    if frame.is_corrupt and not found:
                        window.clear()
                        continue
                    window.append(frame)
                    if not before and (time is None or time > start):
                        # The key frame lies after the start: frames may be missing between them.
                        return None
                    before = True
                    if found or time is None or time >= start:
                        found += 1
                    if found == count:
                        return window, crop
        except av.FFmpegError as error:
            raise InputError(f"{path} cannot be read to its end ({reason(error)}).") from None
        return (window, crop) if len(window) == count else None


def seek_before(container: InputContainer, stream: VideoStream, time: Fraction) -> bool:
    """Goes to a key frame before a time in seconds from the first frame; False where that cannot be done."""
    if stream.time_base is None:
        return False
    try:
        container.seek(int(time / stream.time_base) + (stream.start_time or 0), stream=stream)
    except av.FFmpegError:
        return False
    return True


def shown_at(frame: av.VideoFrame, stream: VideoStream) -> Fraction | None:
    """Seconds from the first frame of the stream, None where the container stores no times."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    if stamp is None or stream.time_base is None:
        return None
    return (stamp - (stream.start_time or 0)) * stream.time_base


def _rgb(frame: av.VideoFrame, path: Path) -> RgbImage:
    if frame.is_corrupt:
        raise InputError(f"{path}: a frame is damaged.")
    fmt = source_format(frame, path)
    if fmt.chroma == "400" or fmt.matrix == "rgb":
        return _scaled(frame_picture(frame, fmt))
    if fmt.matrix not in _COLOURSPACES:
        raise InputError(f"{path}: its colour matrix leads to no RGB here; convert it to BT.709 first.")
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=_COLOURSPACES[fmt.matrix],
        src_color_range=ColorRange.JPEG if fmt.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_SCALING,
        threads=1,
    )
    return cast(RgbImage, converted.to_ndarray())


def _shown(image: RgbImage, crop: Crop | None, path: Path) -> RgbImage:
    if crop is None:
        return image
    if crop.hides_all(image.shape[1], image.shape[0]):
        raise InputError(f"{path}: its container hides all of its pictures.")
    return image[crop.top : image.shape[0] - crop.bottom, crop.left : image.shape[1] - crop.right]


def _scaled(picture: Picture) -> RgbImage:
    """Grey and RGB, without swscale, which takes all of them for full range."""
    scale = 2 ** (picture.format.bit_depth - 8)
    black, white = (0, 256 * scale - 1) if picture.format.full_range else (16 * scale, 235 * scale)
    green, blue, red = picture.planes if picture.format.matrix == "rgb" else picture.planes * 3
    codes = np.stack([red, green, blue], axis=2).astype(np.float32)
    rgb: RgbImage = ((codes - black) * (255 / (white - black))).round().clip(0, 255).astype(np.uint8)
    return rgb
