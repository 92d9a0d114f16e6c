"""What it takes to add an encoder: a class of its own and an entry in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import av
import pytest
from making import make_video

import scene
from scene.errors import UsageError
from scene.video.encoders import ENCODERS
from scene.video.encoders.base import Encoder
from scene.video.encoders.settings import EncoderSettings


class Mpeg4(Encoder):
    """FFmpeg's own MPEG-4 encoder, whose quantiser stands for the CRF."""

    name = "mpeg4"
    ffmpeg_name = "mpeg4"
    default_crf = 4
    min_crf = 1
    max_crf = 31
    default_preset = "none"
    presets = ("none",)
    params_option = None
    decoder = "mpeg4"
    refused_args: Mapping[str, str] = {"qmin": "use `crf`"}

    def rate_options(self, settings: EncoderSettings) -> dict[str, str]:
        quantiser = f"{self.crf_of(settings):g}"
        return {"qmin": quantiser, "qmax": quantiser}

    def options(self, settings, info, statistics_pass=None):  # type: ignore[no-untyped-def]
        options = super().options(settings, info, statistics_pass)
        return {name: value for name, value in options.items() if name in {"qmin", "qmax"}}


def test_an_encoder_is_one_class_and_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(tmp_path / "in.mkv", size=(320, 192), frames=6)
    sizes = {}
    for crf in (2, 20):
        settings = EncoderSettings("mpeg4", crf=crf)
        request = scene.EncodeRequest(
            source, tmp_path / f"{crf}.mkv", settings, enhancement=scene.EnhanceOptions(model="none")
        )
        with monkeypatch.context() as patch:
            with pytest.raises(UsageError, match="'mpeg4' is unknown"):
                scene.encode(request)
            patch.setitem(ENCODERS, "mpeg4", Mpeg4())
            result = scene.encode(request)
        assert result.frames == 6
        sizes[crf] = result.bytes
        with av.open(str(result.destination)) as container:
            assert container.streams.video[0].codec_context.name == "mpeg4"
            assert len(list(container.decode(video=0))) == 6
    assert sizes[2] > 2 * sizes[20]


def test_its_own_refusals_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "mpeg4", Mpeg4())
    source = make_video(tmp_path / "in.mkv", size=(64, 48), frames=2)
    for settings, text in (
        (EncoderSettings("mpeg4", crf=40), "mpeg4 takes 1 to 31"),
        (EncoderSettings("mpeg4", encoder_args="qmin=2"), "use `crf`"),
        (EncoderSettings("mpeg4", preset="fast"), "no preset 'fast'"),
    ):
        with pytest.raises(UsageError, match=text):
            scene.encode(scene.EncodeRequest(source, tmp_path / "out.mkv", settings))
    assert not (tmp_path / "out.mkv").exists()
