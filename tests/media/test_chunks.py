"""An encode in chunks is the encode in one go: pictures, times, tracks, whatever encoder, container and source."""

from __future__ import annotations

import random
from dataclasses import replace

import av
import pytest
from chunked import FRAMES, SECONDS, both, encode_chunks, make_shots, times
from making import assert_same_pictures, decoded, packets
from skimage import data
from sources import ffmpeg
from test_encode_guard import GRADIENT, make_clip
from test_encode_semantics import model, student  # noqa: F401 - fixtures

import scene
from scene import EncodeRequest, EncoderSettings, EnhanceOptions, JobRequest, UsageError
from scene.errors import InputError, VerificationError
from scene.jobs import encode as encode_module
from scene.jobs import guard, model_choice
from scene.metrics.rate_saving import Saving
from scene.options import FocusOptions
from scene.video.encoders.x265 import X265
from scene.video.encoding.session import CodecSession

BYPASS = EnhanceOptions(model="none")
QUICK = {"x264": "veryfast", "x265": "ultrafast", "svtav1": "12"}


def quick(codec="x264", crf=30.0, args=""):
    return EncoderSettings(codec, crf=crf, preset=QUICK.get(codec), encoder_args=args)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_shots(tmp_path_factory.mktemp("clip") / "in.mkv")


@pytest.mark.parametrize("codec", ["x264", "x265", "svtav1"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_times_of_all_tracks_are_those_of_one_encode(tmp_path, codec, suffix):
    if codec == "svtav1" and suffix == ".ts":
        pytest.skip("transport streams hold no AV1")
    source = make_shots(tmp_path / "in.mkv", audio="aac" if suffix == ".ts" else "flac")
    one, chunks = both(EncodeRequest(source, tmp_path / f"out{suffix}", quick(codec), BYPASS), tmp_path)
    assert [kind for kind, _, _ in times(one)] == ["video", "audio"]
    assert times(chunks) == times(one)
    assert len(decoded(chunks)) == FRAMES


def test_a_variable_rate_is_kept(tmp_path):
    """With B-frames each packet's decoding time is another frame's, across the chunks' borders too."""
    steps = random.Random(2).choices([17, 33, 40, 41, 80, 400], k=FRAMES)
    source = make_shots(tmp_path / "in.mkv", stamps=[1000 + sum(steps[:number]) for number in range(FRAMES)])
    for codec in ("x264", "x265"):
        request = EncodeRequest(source, tmp_path / "out.mp4", quick(codec, args="bframes=3:b-adapt=0"), BYPASS)
        (tmp_path / codec).mkdir()
        one, chunks = both(request, tmp_path / codec)
        assert times(chunks) == times(one)


LOSSLESS = {
    "x264": EncoderSettings("x264", preset="ultrafast", encoder_args="qp=0", crf=34),
    "x265": EncoderSettings("x265", preset="ultrafast", encoder_args="lossless=1:bframes=4", crf=34),
    "svtav1": EncoderSettings("svtav1", preset="10", encoder_args="lossless=1", crf=34),
}


@pytest.mark.parametrize("name,codec", [("scene-lite", "x264"), ("scene-lite", "x265"), ("asconvsr", "x264")])
def test_the_encoder_is_given_the_same_pictures(tmp_path, clip, name, codec):
    """Bit for bit, through a lossless encode: a bank behind the temporal filter, and a network."""
    request = EncodeRequest(clip, tmp_path / "out.mkv", LOSSLESS[codec], EnhanceOptions(model=name))
    one, chunks = both(request, tmp_path)
    pictures = decoded(one)
    assert_same_pictures(pictures, decoded(chunks))
    changed = sum((a.planes[0] != b.planes[0]).any() for a, b in zip(decoded(clip), pictures, strict=True))
    assert changed > FRAMES // 2


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
@pytest.mark.parametrize(
    "codec,more",
    [
        *(("x264", more) for more in ("bframes=3", "bframes=3:open-gop=1")),
        *(("x265", more) for more in ("open-gop=1", "open-gop=0")),
        ("svtav1", ""),
    ],
)
def test_pictures_around_a_border_within_a_shot_are_decoded_in_order(tmp_path, codec, more, suffix):
    """Where the encoder would put no key frame by itself, and pictures refer to those behind them."""
    if codec == "svtav1" and suffix == ".ts":
        pytest.skip("transport streams hold no AV1")
    source = make_shots(tmp_path / "in.mkv", lengths=(100,), audio=None)
    settings = LOSSLESS[codec]
    settings = replace(settings, encoder_args=f"{settings.encoder_args}:{more}".rstrip(":"))
    chunks = tmp_path / f"out{suffix}"
    encode_chunks(EncodeRequest(source, chunks, settings, BYPASS), tmp_path / "work")
    shown = decoded(chunks)
    assert_same_pictures(decoded(source), shown)
    assert [frame.time for frame in shown] == sorted(frame.time for frame in shown)


@pytest.mark.parametrize("preset", ["veryfast", "medium"])
def test_a_key_frame_within_a_shot_is_as_fine_as_in_one_encode(tmp_path, preset):
    """x265's lookahead must see what refers to it, with and without b-adapt=2."""
    source = make_shots(tmp_path / "in.mkv", lengths=(100,), audio=None)
    settings = EncoderSettings("x265", crf=20, preset=preset, encoder_args="keyint=40")
    one, chunks = both(EncodeRequest(source, tmp_path / "out.mkv", settings, BYPASS), tmp_path)
    keys = []
    for path in (one, chunks):
        with av.open(str(path)) as file:
            keys.append([(packet.pts, packet.size) for packet in file.demux(video=0) if packet.is_keyframe])
    assert [pts for pts, _ in keys[0]] == [pts for pts, _ in keys[1]] == [0, 1600, 3200]
    for (_, size), (_, chunked) in zip(*keys, strict=True):
        assert 0.9 * size < chunked < 1.15 * size


def test_pictures_out_of_order_are_found(tmp_path, monkeypatch):
    """A CRA picture where decoding is to begin anew: decoders number on, and show it before what is before it."""
    monkeypatch.setattr(X265, "spliced", lambda _, packet: packet)
    source = make_shots(tmp_path / "in.mkv", lengths=(100,), audio=None)
    settings = EncoderSettings("x265", crf=30, preset="ultrafast", encoder_args="open-gop=1:bframes=4")
    request = EncodeRequest(source, tmp_path / "out.mkv", settings, BYPASS, verify="full")
    with pytest.raises(VerificationError, match="decoded in another order than that in which they are shown"):
        encode_chunks(request, tmp_path / "work")
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("lengths", [(23, 5, 17, 40), (85,)], ids=["shots", "one shot"])
def test_a_guard_passes_through_what_it_does_in_one_encode(tmp_path, monkeypatch, lengths):
    """Bit for bit; the verdict on a shot that a chunk begins within is made of its beginning. Every second one pays."""
    seen = []

    def judged(probe, plain, enhanced, stamps):
        seen.append((tuple(stamps), sum(int(picture.planes[0].sum()) for picture in (*plain, *enhanced))))
        return Saving({}, pays=stamps[0] // 40 % 2 == 1)

    monkeypatch.setattr(guard.ShotProbe, "__call__", judged)
    monkeypatch.setattr(guard, "too_small", lambda *_: None)
    source = make_shots(tmp_path / "in.mkv", lengths=lengths)
    request = EncodeRequest(source, tmp_path / "out.mkv", LOSSLESS["x265"], EnhanceOptions(), guard=True)
    one, chunks = both(request, tmp_path)
    assert_same_pictures(decoded(one), decoded(chunks))
    whole = seen[: len(lengths)]
    # All chunks but the first begin within a shot where there is but one.
    assert len(set(whole)) == len(lengths) and set(seen) == set(whole)
    assert len(seen) == 2 * len(lengths) + (len(lengths) == 1) * 2
    with av.open(str(one)) as a, av.open(str(chunks)) as b:
        assert a.metadata == b.metadata and str(a.metadata).count("; guard") == 1


@pytest.mark.parametrize("lengths", [(23, 5, 17, 40), (85,)], ids=["shots", "one shot"])
@pytest.mark.parametrize("focus_map", ["auto", "centre"])
def test_maps_of_what_matters_are_those_of_one_encode(tmp_path, monkeypatch, lengths, focus_map):
    """What the encoder is told of each frame, and the pictures that are smoothed by it, bit for bit."""
    maps = {}

    def noted(session, frame, whole=CodecSession.encode):
        if frame.importance is not None:
            maps.setdefault(frame.pts, []).append((frame.importance.copy(), frame.picture().planes[0].copy()))
        return whole(session, frame)

    monkeypatch.setattr(CodecSession, "encode", noted)
    source = make_shots(tmp_path / "in.mkv", lengths=lengths)
    focus = FocusOptions(0.7, focus_map, "both")
    settings = EncoderSettings("x264", crf=28, preset="veryfast")
    for name in ("none", "scene-lite"):
        folder = tmp_path / name
        folder.mkdir()
        maps.clear()
        request = EncodeRequest(source, folder / "out.mkv", settings, EnhanceOptions(model=name), focus=focus)
        one, chunks = both(request, folder)
        assert len(maps) == FRAMES
        for pts, (whole, *parts) in maps.items():
            # Some are given to the encoder before or behind another chunk too.
            assert any(all((a == b).all() for a, b in zip(whole, part, strict=True)) for part in parts), pts
        with av.open(str(one)) as a, av.open(str(chunks)) as b:
            assert a.metadata == b.metadata and "; focus 0.7" in str(a.metadata)


def test_a_guard_reports_on_all_chunks(tmp_path):
    """With real probes."""
    source = make_clip(tmp_path / "in.mkv", data.chelsea(), GRADIENT, data.astronaut(), frames=14)
    settings = EncoderSettings("x265", preset="ultrafast", crf=28)
    request = EncodeRequest(source, tmp_path / "one.mkv", settings, EnhanceOptions("asconvsr"), guard=True)
    one = scene.encode(request).guard
    many = encode_chunks(replace(request, destination=tmp_path / "out.mkv"), tmp_path / "work").guard
    assert one is not None and many is not None
    assert (one.shots, one.passed) == (many.shots, many.passed) and many.seconds > 0


@pytest.mark.parametrize("interval", [0, 4])
def test_a_chunk_within_a_shot_has_the_shots_embedding(tmp_path, clip, model, interval):  # noqa: F811
    settings = EncoderSettings(preset="ultrafast", encoder_args="qp=0")
    enhancement = EnhanceOptions(model=str(model), semantic_interval=interval)
    one, chunks = both(EncodeRequest(clip, tmp_path / "out.mkv", settings, enhancement), tmp_path)
    assert_same_pictures(decoded(one), decoded(chunks))


@pytest.mark.parametrize(
    "name,options",
    [
        ("open.mkv", {"x264-params": "open-gop=1:keyint=15:bframes=3:b-adapt=0:scenecut=0"}),
        ("one_key.mp4", {"x264-params": "keyint=1000:bframes=3:scenecut=0"}),
        ("refresh.mkv", {"x264-params": "intra-refresh=1:keyint=20"}),
        ("cut.ts", {"x264-params": "keyint=15:bframes=2"}),
        ("raw.264", {"x264-params": "keyint=15:bframes=2"}),
        ("old.avi", {"x264-params": "keyint=15:bframes=2"}),
    ],
)
def test_frames_from_the_middle_of_any_source(tmp_path, name, options):
    """Wherever a seek leads: key frames whose neighbours refer to what is before them, none at all, no times."""
    source = make_shots(tmp_path / name, codec="libx264", options=options, audio=None)
    settings = EncoderSettings(preset="ultrafast", encoder_args="qp=0")
    one, chunks = both(EncodeRequest(source, tmp_path / "out.mkv", settings, BYPASS), tmp_path)
    assert_same_pictures(decoded(one), decoded(chunks))
    assert times(chunks) == times(one)


def test_deinterlaced_frames(tmp_path):
    """The deinterlacer looks at the frames around, at a chunk's border too."""
    plain = make_shots(tmp_path / "plain.mkv")
    source = tmp_path / "in.mkv"
    ffmpeg("-i", plain, "-vf", "interlace", "-c:v", "mpeg2video", "-q:v", 2, "-flags", "+ildct+ilme", source)
    settings = EncoderSettings(preset="ultrafast", encoder_args="qp=0")
    one, chunks = both(EncodeRequest(source, tmp_path / "out.mkv", settings, BYPASS, deinterlace=True), tmp_path)
    assert_same_pictures(decoded(one), decoded(chunks))


def test_tracks_chapters_and_tags(tmp_path):
    plain = make_shots(tmp_path / "plain.mkv")
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,100 --> 00:00:01,000\nhello\n\n2\n00:00:02,000 --> 00:00:03,000\nthere\n")
    about = tmp_path / "about.txt"
    about.write_text(";FFMETADATA1\ntitle=A film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=One\n")
    source = tmp_path / "in.mkv"
    inputs = ("-i", plain, "-i", words, "-i", about)
    ffmpeg(*inputs, "-map", 0, "-map", 1, "-map", 0, "-map_metadata", 2, "-map_chapters", 2, "-c", "copy", source)
    request = EncodeRequest(source, tmp_path / "out.mp4", quick(), BYPASS, maps=("0:v:0", "a", "s"))
    one, chunks = both(request, tmp_path)
    assert times(chunks) == times(one)
    for kind in ("audio", "subtitle"):
        assert packets(chunks, kind) == packets(one, kind)
    with av.open(str(one)) as a, av.open(str(chunks)) as b:
        assert b.chapters() == a.chapters() and len(a.chapters()) == 1
        assert b.metadata == a.metadata and a.metadata["title"] == "A film"


def test_a_damaged_source_that_is_to_be_skipped_over(tmp_path):
    source = make_shots(tmp_path / "in.mkv", codec="libx264", options={"x264-params": "keyint=15"})
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 9 // 10])
    request = EncodeRequest(source, tmp_path / "out.mkv", quick(), BYPASS)
    with pytest.raises(InputError, match="damaged or cut short"):
        scene.plan_job(JobRequest(request, tmp_path / "work", SECONDS))
    assert not (tmp_path / "work").exists()
    settings = EncoderSettings(preset="ultrafast", encoder_args="qp=0")
    one, chunks = both(EncodeRequest(source, tmp_path / "out.mkv", settings, BYPASS, skip_damage=True), tmp_path)
    assert_same_pictures(decoded(one), decoded(chunks))


def test_a_job_of_one_chunk_is_the_same_file(tmp_path, clip):
    request = EncodeRequest(clip, tmp_path / "chunks.mkv", quick(), BYPASS)
    plan = scene.plan_job(JobRequest(request, tmp_path / "work"))
    assert plan.chunks == 1
    scene.run_chunk(tmp_path / "work", 0)
    scene.join_job(tmp_path / "work")
    scene.encode(EncodeRequest(clip, tmp_path / "one.mkv", quick(), BYPASS))
    assert (tmp_path / "one.mkv").read_bytes() == (tmp_path / "chunks.mkv").read_bytes()


def test_all_chunks_have_the_model_that_the_plan_chose(tmp_path, clip, monkeypatch):
    ratios = {"scene-lite": 2.0, "scene-fast": 1.1}
    monkeypatch.setattr(model_choice, "_ratio", lambda _, options, __: ratios[options.model])
    request = EncodeRequest(clip, tmp_path / "out.mkv", quick(), EnhanceOptions(model="auto"))
    job = JobRequest(request, tmp_path / "work", SECONDS)
    plan = scene.plan_job(job)
    assert plan.request.enhancement == EnhanceOptions(model="scene-fast", runtime="torch")
    # Planned again, on a machine that is faster by then.
    ratios["scene-lite"] = 1.0
    assert scene.plan_job(job) == plan
    scene.run_job(tmp_path / "work")
    assert scene.join_job(tmp_path / "work").model == plan.model and plan.model.startswith("scene-fast@")


@pytest.mark.parametrize(
    "options,said",
    [
        ({"settings": EncoderSettings(bitrate=300)}, "`bitrate` is kept over the whole video"),
        (
            {"settings": EncoderSettings(encoder_args="vbv-maxrate=300:vbv-bufsize=300")},
            "vbv-maxrate is about the whole",
        ),
        ({"settings": EncoderSettings("x265", encoder_args="zones=0,9,q=30")}, "zones is about the whole video"),
        ({"allow_network": True}, "`allow_network`"),
        ({"focus": FocusOptions(0.5, "masks.mkv")}, "`focus_map` of your own"),
    ],
)
def test_what_needs_the_whole_video_is_refused(tmp_path, clip, options, said, monkeypatch):
    request = EncodeRequest(clip, tmp_path / "out.mkv", **options)
    monkeypatch.setattr(encode_module, "check_focus", lambda *_: None)
    with pytest.raises(UsageError, match=said):
        scene.plan_job(JobRequest(request, tmp_path / "work"))
    assert list(tmp_path.iterdir()) == []


def test_what_an_encode_refuses_is_refused_before_the_work(tmp_path, clip):
    for request, said in [
        (EncodeRequest(clip, tmp_path / "out.webm", quick(), BYPASS), "webm files cannot hold x264"),
        (EncodeRequest(clip, tmp_path / "out.ts", quick(), BYPASS), "ts files cannot hold"),
        (EncodeRequest(clip, clip, quick(), BYPASS), "is the source itself"),
        (EncodeRequest(clip, tmp_path / "out.mkv", quick(args="nonsense=1"), BYPASS), "nonsense"),
    ]:
        with pytest.raises(UsageError, match=said):
            scene.plan_job(JobRequest(request, tmp_path / "work"))
    assert list(tmp_path.iterdir()) == []


def test_vvenc_in_chunks(tmp_path, clip):
    """Its packets come from the ffmpeg program, numbered; its pictures have to be at least so large."""
    request = EncodeRequest(clip, tmp_path / "out.mkv", EncoderSettings("vvenc", crf=40), BYPASS)
    try:
        scene.plan_job(JobRequest(request, tmp_path / "trial", SECONDS))
    except scene.MissingError as error:
        pytest.skip(str(error))
    one, chunks = both(request, tmp_path)
    assert times(chunks) == times(one)
    assert len(decoded(chunks)) == FRAMES


def test_an_encoder_that_loses_a_frame_is_found_out(tmp_path, clip, monkeypatch):
    whole = CodecSession.finish
    monkeypatch.setattr(CodecSession, "finish", lambda session, check: list(whole(session, check))[:-1])
    work = tmp_path / "work"
    scene.plan_job(JobRequest(EncodeRequest(clip, tmp_path / "out.mkv", quick(), BYPASS), work, SECONDS))
    with pytest.raises(scene.SceneError, match=r"x264 made 22 pictures of 23 frames\."):
        scene.run_chunk(work, 0)
    assert list((work / "chunks").iterdir()) == []


def test_chunks_may_be_made_in_any_order_and_again(tmp_path, clip):
    request = EncodeRequest(clip, tmp_path / "out.mkv", quick(), BYPASS)
    encode_chunks(request, tmp_path / "work")
    before = (tmp_path / "out.mkv").read_bytes()
    assert scene.run_chunk(tmp_path / "work", 0).done_before
    (tmp_path / "out.mkv").unlink()
    scene.join_job(tmp_path / "work")
    assert (tmp_path / "out.mkv").read_bytes() == before
