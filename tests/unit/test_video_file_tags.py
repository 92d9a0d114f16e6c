"""Where a file says what made it, beside the source's own tags."""

from pathlib import Path

import pytest

from scene.video.container.formats import CONTAINERS, container_of
from scene.video.container.tags import file_tags
from scene.video.demuxers import DEMUXERS
from scene.video.ffmpeg import SAFE_INPUT

MADE = "scene 0.1.0; model none; strength 0; codec x264; crf 23; preset medium"
EARLIER = "scene 0.0.9; model old@123456789abc; strength 1; codec x265; crf 28; preset medium"


def tags(suffix, source):
    return file_tags(source, container_of(Path("a" + suffix)), MADE, Path("in.mkv"))


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_tag_of_its_own(suffix):
    assert tags(suffix, {"comment": "mine", "Scene": "old"}) == {"comment": "mine", "SCENE": MADE}
    assert tags(suffix, {"COMMENT": f"mine\n{EARLIER}"}) == {"COMMENT": "mine", "SCENE": MADE}


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov"])
@pytest.mark.parametrize("earlier", ["", EARLIER, f"{EARLIER}\n{EARLIER}"])
def test_the_last_line_of_the_comment(suffix, earlier):
    assert tags(suffix, {"comment": earlier}) == {"comment": MADE}
    assert tags(suffix, {"comment": f"mine,\ntwo lines\n{earlier}"}) == {"comment": f"mine,\ntwo lines\n{MADE}"}


@pytest.mark.parametrize("suffix", [".ts", ".m2ts"])
def test_the_provider_of_a_programme(suffix):
    assert tags(suffix, {"comment": "mine"}) == {"service_provider": MADE}
    long = file_tags({}, CONTAINERS[suffix], MADE + ":é" * 200, Path("in.mkv"))["service_provider"]
    assert 198 <= len(long.encode()) <= 200


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_keys_with_a_domain_bring_all_others_with_them(suffix, caplog):
    phone = {"com.apple.quicktime.make": "Example", "mood": "calm", "TITLE": "T", "Comment": "mine"}
    assert tags(suffix, phone) == {
        "com.apple.quicktime.make": "Example",
        "mood": "calm",
        "title": "T",
        "comment": f"mine\n{MADE}",
    }
    assert not caplog.messages
    beside_a_cover = file_tags(phone, container_of(Path("a" + suffix)), MADE, Path("in.mov"), own_keys=False)
    assert beside_a_cover == {"TITLE": "T", "Comment": f"mine\n{MADE}"}
    assert caplog.messages == [
        "in.mov: its tags com.apple.quicktime.make, mood cannot be written beside a cover by FFmpeg."
    ]
    assert tags(suffix, {"mood": "calm", "title": "T"}) == {"title": "T", "comment": MADE}


def test_tags_of_the_sources_file_are_left_out():
    assert tags(".mkv", {"encoder": "Lavf", "major_brand": "isom", "title": "T"}) == {"title": "T", "SCENE": MADE}


def test_one_list_of_what_may_be_opened():
    assert SAFE_INPUT == ("-protocol_whitelist", "file", "-format_whitelist", DEMUXERS)
    assert {"hls", "concat", "dash", "image2", "lavfi"}.isdisjoint(DEMUXERS.split(","))
