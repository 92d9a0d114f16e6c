"""--bitrate in one pass and two: the rate that comes out, what a told network is told, and what is left behind."""

from __future__ import annotations

import json

import av
import pytest
from making import assert_same_times, decoded, encode, make_network, make_video

import scene

_FAST = {"x264": [], "x265": ["--preset", "fast"], "svtav1": ["--preset", "10"]}


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "in.mkv", frames=75, size=(160, 96))


def kbits(path):
    """Of the video packets of a clip with 25 frames a second."""
    with av.open(str(path)) as file:
        sizes = [packet.size for packet in file.demux(video=0) if packet.size]
    return sum(sizes) * 8 / 1000 / (len(sizes) / 25)


def message(path):
    with av.open(str(path)) as file:
        # x265's is among the headers.
        return bytes(next(file.demux(video=0))) + (file.streams.video[0].codec_context.extradata or b"")


@pytest.mark.parametrize("codec", ["x264", "x265"])
@pytest.mark.parametrize("target", [600, 1200])
def test_the_rate_is_near_the_target(clip, tmp_path, temporary, codec, target):
    out = tmp_path / "out.mkv"
    assert encode(clip, out, "--model", "none", "--codec", codec, *_FAST[codec], "--bitrate", target) == 0
    assert kbits(out) == pytest.approx(target, rel=0.25)
    assert list(temporary.iterdir()) == []


def test_svtav1_follows_the_target_though_not_closely_on_a_short_clip(clip, tmp_path):
    rates = []
    for target in (150, 1200):
        given = ["--model", "none", "--codec", "svtav1", *_FAST["svtav1"], "--bitrate", target, "-y"]
        assert encode(clip, tmp_path / "out.mkv", *given) == 0
        rates.append(kbits(tmp_path / "out.mkv"))
    assert rates[1] > 1.2 * rates[0]


def test_two_passes_are_two(clip, tmp_path, temporary, capfd):
    for passes, x264, progress in (("2", b"rc=2pass", '"pass": "1/2"'), ("1", b"rc=abr", None)):
        given = ["--model", "none", "--bitrate", "600", "--passes", passes, "-y", "--log-format", "json"]
        assert encode(clip, tmp_path / "out.mkv", *given) == 0
        assert x264 in message(tmp_path / "out.mkv")
        events = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        seen = [event.get("pass") for event in events if event["event"] == "progress"]
        assert seen[-1] == ("2/2" if progress else None)
    assert encode(clip, tmp_path / "out.mkv", "--model", "none", "--bitrate", 600, "--codec", "x265", "-y") == 0
    assert b"stats-read=2" in message(tmp_path / "out.mkv")


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
@pytest.mark.parametrize("kind", ["one frame", "variable rate and odd size", "ten bits"])
def test_passes_agree_on_frames(tmp_path, temporary, codec, kind):
    path = tmp_path / "in.mkv"
    if kind == "one frame":
        make_video(path, frames=1, size=(160, 96))
    elif kind == "ten bits":
        make_video(path, frames=6, size=(160, 96), pix_fmt="yuv420p10le")
    else:
        make_video(path, size=(159, 95), stamps=[0, 40, 80, 200, 210, 220, 300, 500, 540])
    network = make_network(tmp_path / "told.safetensors", quantiser=(2, 200))
    out = tmp_path / "out.mkv"
    assert encode(path, out, "--model", network, "--codec", codec, *_FAST[codec], "--bitrate", 900) == 0
    assert_same_times(decoded(path), decoded(out))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
def test_networks_are_told_the_quantiser_that_the_first_pass_came_to(clip, tmp_path, monkeypatch, codec):
    from scene.enhance import Enhancer
    from scene.video.encoders import find_encoder

    steps = []

    def listen(self, step):
        steps.append(step)

    monkeypatch.setattr(Enhancer, "set_quantiser_step", listen)
    network = make_network(tmp_path / "told.safetensors", quantiser=(2, 200))
    for crf in (26, 38):
        plain = tmp_path / "plain.mkv"
        given = ["--codec", codec, *_FAST[codec], "-y"]
        assert encode(clip, plain, "--model", "none", "--crf", crf, *given) == 0
        rate = round(kbits(plain))
        assert encode(clip, tmp_path / "out.mkv", "--model", network, "--bitrate", rate, *given) == 0
    if codec == "svtav1":
        assert steps[0] < steps[1]
        return
    # The quantiser of a CRF and of the bitrate that it gave are about the same, four CRFs at most apart.
    encoder = find_encoder(codec)
    for step, crf in zip(steps, (26, 38), strict=True):
        low, high = (encoder.quantiser_step(other) * encoder.fit.step for other in (crf - 4, crf + 4))
        assert low < step < high


def test_a_damaged_source_is_skipped_alike_in_both_passes(tmp_path, temporary, capfd):
    path = make_video(tmp_path / "in.mkv", codec="libx264", frames=60, size=(160, 120), options={"g": "12"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    out = tmp_path / "out.mkv"
    given = ["--model", "none", "--bitrate", "600", "--on-error"]
    assert encode(path, out, *given, "fail") == 3
    assert not out.exists()
    assert list(temporary.iterdir()) == []
    assert encode(path, out, *given, "skip") == 0
    assert 20 <= len(decoded(out)) <= 60
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == len(set(warnings))


def test_an_interruption_of_the_first_pass_leaves_nothing(clip, tmp_path, temporary):
    seen = []

    def interrupt(reading):
        seen.append((reading.fields["pass"], len(list(temporary.iterdir()))))
        raise KeyboardInterrupt

    settings = scene.EncoderSettings(bitrate=600)
    request = scene.EncodeRequest(clip, tmp_path / "out.mkv", settings, scene.EnhanceOptions("none"))
    with pytest.raises(KeyboardInterrupt):
        scene.encode(request, interrupt)
    assert seen == [("1/2", 1)]
    assert list(temporary.iterdir()) == []
    assert list(tmp_path.iterdir()) == [temporary]


def test_rates_and_options_that_cannot_be_had(clip, tmp_path, capfd):
    out = tmp_path / "out.mkv"
    small = make_video(tmp_path / "small.mkv", frames=1)
    network = make_network(tmp_path / "told.safetensors", quantiser=(2, 200))
    for code, text, arguments in [
        (5, "bitrate is too low", [small, out, "--model", "none", "--bitrate", "20"]),
        (2, "64 pixels", [small, out, "--model", "none", "--bitrate", "100", "--codec", "svtav1"]),
        (2, "exclude each other", [clip, out, "--bitrate", "100", "--crf", "20"]),
        (2, "belongs to --bitrate", [clip, out, "--passes", "2"]),
        (2, "leave --passes out", [clip, out, "--model", network, "--bitrate", "100", "--passes", "1"]),
        (2, "--guard tries", [clip, out, "--model", network, "--bitrate", "100", "--guard"]),
    ]:
        assert encode(*arguments) == code
        assert text in capfd.readouterr().err
        assert not out.exists()
