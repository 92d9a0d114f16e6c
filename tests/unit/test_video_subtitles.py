"""Text subtitles from one container's form to the other's."""

from scene.video.container.subtitles import conversion, text_to_timed_text, timed_text_to_text


def test_markup_is_dropped_and_lines_are_kept():
    assert text_to_timed_text(b"{\\an8}<i>one</i>\r\ntwo < three") == b"\x00\x0fone\ntwo < three"


def test_nothing_shown_gives_no_packet():
    assert text_to_timed_text(b" <b></b>") is None
    assert timed_text_to_text(b"\x00\x00") is None
    assert timed_text_to_text(b"") is None


def test_style_boxes_are_cut_off():
    assert timed_text_to_text(b"\x00\x05hello\x00\x00\x00\x10styl") == b"hello"


def test_utf16_is_recoded():
    text = "p\u0159\u00edb\u011bh".encode("utf-16")
    assert timed_text_to_text(len(text).to_bytes(2, "big") + text) == "p\u0159\u00edb\u011bh".encode()


def test_only_text_is_converted():
    assert conversion("dvd_subtitle", "mp4") is None
    assert conversion("subrip", "mpegts") is None
    assert conversion("subrip", "mov").codec == "mov_text"
    assert conversion("subrip", "webm").codec == "webvtt"


def test_the_text_of_an_event_with_commas():
    event = b"0,0,Default,,0,0,0,,{\\i1}one{\\i0},\\Ntwo"
    assert conversion("ass", "webm").convert(event) == b"one,\ntwo"
    assert conversion("ass", "mp4").convert(event) == b"\x00\x08one,\ntwo"
