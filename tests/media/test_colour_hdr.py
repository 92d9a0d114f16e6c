"""HDR: static metadata and transfer functions kept, dynamic metadata named, and what would be wrong refused."""

import re
import struct

import av
import pytest
from making import encode, make_network, make_video

from scene.errors import MissingError
from scene.video.ffmpeg import FFmpeg, find_ffmpeg
from scene.video.hdr import MasteringDisplay
from scene.video.source.probe import probe

PQ, HLG, BT2020 = 16, 18, 9
DISPLAY = MasteringDisplay(
    red=(0.68, 0.32),
    green=(0.265, 0.69),
    blue=(0.15, 0.06),
    white=(0.3127, 0.329),
    min_luminance=0.005,
    max_luminance=1000,
)
HDR10 = (
    "log-level=none:hdr10=1:repeat-headers=1:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
)
ENCODERS = {
    "x264": ["--codec", "x264", "--preset", "ultrafast"],
    "x265": ["--codec", "x265", "--preset", "ultrafast"],
    "svtav1": ["--codec", "svtav1", "--preset", "10"],
}


@pytest.fixture
def hdr10(tmp_path):
    options = {"preset": "ultrafast", "x265-params": HDR10}
    colour = (BT2020, PQ, BT2020, 1)
    return make_video(
        tmp_path / "in.mkv", codec="libx265", options=options, pix_fmt="yuv420p10le", colour=colour, frames=3
    )


def assert_is_hdr10(path) -> None:
    info = probe(path)
    assert info.format.bit_depth == 10
    assert (info.colour.primaries, info.colour.transfer, info.colour.matrix, info.colour.range) == (9, PQ, 9, 1)
    assert info.hdr.content_light == (1000, 400)
    display = info.hdr.mastering
    assert display is not None
    for name in ("red", "green", "blue", "white"):
        # The coarsest unit is AV1's 1/65536.
        assert getattr(display, name) == pytest.approx(getattr(DISPLAY, name), abs=1e-5), name
    assert display.min_luminance == pytest.approx(0.005, abs=1 / 16384)
    assert display.max_luminance == pytest.approx(1000, abs=1 / 256)


@pytest.mark.parametrize("codec", ENCODERS)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_hdr10_of_the_bitstream_is_kept(tmp_path, hdr10, codec, suffix):
    target = tmp_path / f"out{suffix}"
    assert encode(hdr10, target, *ENCODERS[codec], "--model", "none") == 0
    assert_is_hdr10(target)


@pytest.mark.parametrize("name,codec", [("in.mkv", "ffv1"), ("in.mov", "prores_ks"), ("in.mp4", "ffv1")])
def test_hdr10_of_the_container_is_kept(tmp_path, hdr10, name, codec):
    try:
        ffmpeg: FFmpeg = find_ffmpeg()
    except MissingError as error:
        pytest.skip(str(error))
    # These codecs have no place for it in their bitstreams.
    source = tmp_path / "container" / name
    source.parent.mkdir()
    ffmpeg.run(["-i", str(hdr10), "-c:v", codec, str(source)])
    assert_is_hdr10(source)
    target = tmp_path / "out.mkv"
    assert encode(source, target, *ENCODERS["x265"], "--model", "none") == 0
    assert_is_hdr10(target)
    with av.open(str(target)) as file:
        first = next(packet for packet in file.demux(video=0))
        bitstream = bytes(first) + bytes(file.streams.video[0].codec_context.extradata or b"")
    # SEI payload types 137 and 144 with their sizes.
    assert b"\x89\x18" in bitstream and b"\x90\x04" in bitstream


@pytest.mark.parametrize("codec", ENCODERS)
def test_hlg_is_kept_also_where_only_the_alternative_transfer_says_so(tmp_path, codec):
    plain = make_video(tmp_path / "plain.mkv", pix_fmt="yuv420p10le", colour=(9, HLG, 9, 1), frames=3)
    options = {"preset": "ultrafast", "x265-params": f"log-level=none:atc-sei={HLG}"}
    hidden = make_video(
        tmp_path / "sei.mkv", codec="libx265", options=options, pix_fmt="yuv420p10le", colour=(9, 14, 9, 1), frames=3
    )
    for source in (plain, hidden):
        assert encode(source, tmp_path / "out.mkv", "-y", *ENCODERS[codec], "--model", "none") == 0
        colour = probe(tmp_path / "out.mkv").colour
        assert (colour.primaries, colour.transfer, colour.matrix) == (9, HLG, 9)


@pytest.mark.parametrize("transfer,name", [(PQ, "PQ"), (HLG, "HLG")])
def test_hdr_in_8_bit_is_refused(tmp_path, capfd, transfer, name):
    source = make_video(tmp_path / "in.mkv", pix_fmt="yuv420p", colour=(9, transfer, 9, 1), frames=2)
    for codec in ENCODERS.values():
        assert encode(source, tmp_path / "out.mkv", *codec, "--model", "none") == 3
        assert f"8 bit with the transfer function of HDR ({name})" in capfd.readouterr().err
    assert not (tmp_path / "out.mkv").exists()


def test_models_warn_of_hdr(tmp_path, capfd, hdr10):
    weights = make_network(tmp_path / "net.safetensors")
    for model, warned in ((weights, True), ("none", False)):
        assert encode(hdr10, tmp_path / "out.mkv", "-y", *ENCODERS["x265"], "--model", model) == 0
        assert ("is HDR (PQ)" in capfd.readouterr().err) == warned


def with_dolby_vision(path, profile: int, compatibility: int) -> None:
    """Adds a Dolby Vision configuration box to the HEVC sample entry of an mp4 file with its index behind."""
    data = bytearray(path.read_bytes())
    flags = profile << 9 | 1 << 3 | 0b101  # level 1, metadata and base layer present
    box = struct.pack(">I4sBBHB19x", 32, b"dvvC", 1, 0, flags, compatibility << 4)
    start, end = 0, len(data)
    sizes = []
    for wanted in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hev1"):
        at = start
        while data[at + 4 : at + 8] != wanted:
            at += struct.unpack_from(">I", data, at)[0]
            assert at < end
        sizes.append(at)
        start, end = at + (16 if wanted == b"stsd" else 8), at + struct.unpack_from(">I", data, at)[0]
    for at in sizes:
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(box))
    data[end:end] = box
    path.write_bytes(data)


def dolby_vision_source(tmp_path, profile: int, compatibility: int):
    path = make_video(
        tmp_path / "in.mp4",
        codec="libx265",
        options={"preset": "ultrafast", "x265-params": "log-level=none"},
        pix_fmt="yuv420p10le",
        frames=3,
    )
    with_dolby_vision(path, profile, compatibility)
    return path


@pytest.mark.parametrize("profile,compatibility", [(8, 1), (8, 4), (7, 6)])
def test_dolby_vision_is_named_before_work_begins(tmp_path, capfd, profile, compatibility):
    source = dolby_vision_source(tmp_path, profile, compatibility)
    assert encode(source, tmp_path / "out.mkv", *ENCODERS["x265"], "--model", "none") == 0
    assert "its dynamic Dolby Vision metadata is not carried over" in capfd.readouterr().err


def test_dolby_vision_without_a_base_layer_to_show_is_refused(tmp_path, capfd):
    source = dolby_vision_source(tmp_path, 5, 0)
    assert encode(source, tmp_path / "out.mkv", *ENCODERS["x265"], "--model", "none") == 3
    assert "is Dolby Vision of profile 5" in capfd.readouterr().err
    assert not (tmp_path / "out.mkv").exists()


def hdr10_plus_message() -> bytes:
    """A HEVC SEI unit with the least that SMPTE ST 2094-40 allows: one window, no percentiles, no curve."""
    fields = [
        *((1, 8), (1, 2), (400, 27), (0, 1)),  # version, windows, target's luminance, no table of it
        *((1000, 17), (900, 17), (800, 17), (500, 17)),  # largest R, G and B, and the mean of the largest
        *((0, 4), (0, 10), (0, 1), (0, 1), (0, 1)),  # percentiles, bright pixels, table, curve, saturation
    ]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    bits += "0" * (-len(bits) % 8)
    # Country, provider and the number of the application in it, as in ITU-T T.35.
    payload = bytes.fromhex("b5003c000104") + int(bits, 2).to_bytes(len(bits) // 8)
    message = bytes([4, len(payload)]) + payload + b"\x80"
    # No start code may appear inside.
    escaped = re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", message)
    return b"\x00\x00\x00\x01\x4e\x01" + escaped


def test_hdr10_plus_is_named_before_work_begins(tmp_path, capfd, hdr10):
    raw = tmp_path / "raw.hevc"
    with av.open(str(hdr10)) as source, av.open(str(raw), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    data = raw.read_bytes()
    # Before the first unit that holds a part of a picture.
    first = next(m.start() for m in re.finditer(rb"\x00\x00\x00?\x01", data) if data[m.end()] >> 1 & 63 < 32)
    raw.write_bytes(data[:first] + hdr10_plus_message() + data[first:])
    assert encode(raw, tmp_path / "out.mkv", *ENCODERS["x265"], "--model", "none") == 0
    assert "its dynamic HDR10+ metadata is not carried over" in capfd.readouterr().err
    assert_is_hdr10(tmp_path / "out.mkv")
