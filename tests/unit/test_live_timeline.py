"""One clock for a source whose own clock jumps, wraps and begins anew."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scene.enhance.deadline import Deadline
from scene.jobs.live.figures import Histogram
from scene.video.live.address import destination_address, source_address
from scene.video.live.timeline import TICKS, Timeline

VIDEO, SOUND = 0, 1
FRAME, TONE = TICKS // 25, 1920


class Sender:
    """Interleaves video and sound on a clock of its own, sound a little behind."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.placed: dict[int, list[int]] = {VIDEO: [], SOUND: []}
        self.offsets: list[int] = []

    def send(self, stream: int, time: int, *, begins: bool = False) -> int | None:
        shift = self.timeline.shift(stream, time, FRAME if stream == VIDEO else TONE, begins=begins)
        if shift is not None:
            self.placed[stream].append(time + shift)
        return shift

    def play(self, clock: int, seconds: float, behind: int = 9000) -> None:
        """From a time of its clock on: each frame, then the sound of some time before."""
        sound = clock - behind
        for frame in range(round(seconds * 25)):
            time = clock + frame * FRAME
            self.send(VIDEO, time, begins=frame % 25 == 0)
            while sound <= time - behind + FRAME:
                self.send(SOUND, sound)
                sound += TONE

    def steps(self, stream: int) -> set[int]:
        placed = self.placed[stream]
        return {after - before for before, after in pairwise(placed)}


@pytest.mark.parametrize("clock", [0, 123_456_789, 2**33 - 5 * TICKS])
def test_a_steady_clock_begins_at_nought(clock: int) -> None:
    sender = Sender(Timeline())
    sender.play(clock, 2)
    assert sender.placed[VIDEO][0] == 0 and sender.steps(VIDEO) == {FRAME}
    assert sender.steps(SOUND) == {TONE} and sender.timeline.joins == 0


@pytest.mark.parametrize(
    "there", [0, 3 * TICKS, 10_000 * TICKS, 2**33 - TICKS], ids=["anew", "back", "ahead", "before a wrap"]
)
def test_over_a_jump_all_streams_move_alike(there: int) -> None:
    sender = Sender(Timeline())
    sender.play(8 * TICKS, 4)
    before = len(sender.placed[VIDEO]), len(sender.placed[SOUND])
    sender.play(there, 4)
    video, sound = sender.placed[VIDEO], sender.placed[SOUND]
    # It goes on at once, forwards, and the sound as far behind its picture as it was.
    assert sorted(video) == video and max(sender.steps(VIDEO)) < TICKS // 2
    moved = video[before[0]] - there
    assert (sound[-1] - moved - there) % TONE == (0 - 9000) % TONE
    assert sender.timeline.joins == 1


def test_a_wrap_of_33_bits_is_a_jump_like_any_other() -> None:
    sender = Sender(Timeline())
    wrap = 2**33
    for frame in range(-50, 50):
        time = (wrap + frame * FRAME) % wrap
        sender.send(VIDEO, time, begins=frame % 25 == 0)
        sender.send(SOUND, (wrap + frame * FRAME - 2 * FRAME) % wrap)
    assert sender.steps(VIDEO) == {FRAME}
    # Sound comes to it two frames later, and moves by as much as the picture.
    assert sender.steps(SOUND) == {FRAME} and sender.timeline.joins == 1


def test_a_pause_of_the_sound_is_no_jump() -> None:
    sender = Sender(Timeline())
    for frame in range(250):
        sender.send(VIDEO, frame * FRAME, begins=frame % 25 == 0)
        if not 50 < frame < 150:
            sender.send(SOUND, frame * FRAME)
    assert sender.timeline.joins == 0
    assert sender.placed[SOUND][-1] == sender.placed[VIDEO][-1]


def test_after_a_connection_it_begins_with_a_key_frame() -> None:
    timeline = Timeline()
    sender = Sender(timeline)
    assert sender.send(SOUND, 0) is None and sender.send(VIDEO, 0) is None
    sender.play(0, 2)
    end = sender.placed[VIDEO][-1]
    timeline.reconnected()
    assert sender.send(VIDEO, 70 * TICKS) is None
    shift = sender.send(VIDEO, 70 * TICKS + FRAME, begins=True)
    assert shift is not None and 0 < sender.placed[VIDEO][-1] - end < TICKS // 2
    # Sound from a little before that frame stays where it belongs.
    assert sender.send(SOUND, 70 * TICKS) == shift
    assert timeline.joins == 1


def test_a_deadline_has_frames_enhanced_in_runs() -> None:
    deadline = Deadline(1.0)
    waits = [0.2, 0.9, 1.1, 0.9, 0.5, 0.3, 0.2, 0.9, 1.0, 1.2]
    assert "".join("-x"[deadline.passes(wait)] for wait in waits) == "--xxxx---x"
    # Without patience every frame that has waited at all.
    assert Deadline(0).passes(0.001) and not Deadline(0).passes(0)


def test_percentiles() -> None:
    histogram = Histogram()
    for value in range(1, 101):
        histogram.add(value / 100)
    assert histogram.percentile(0.5) == pytest.approx(0.5, abs=0.01)
    assert histogram.percentile(0.95) == pytest.approx(0.95, abs=0.01)
    assert histogram.percentile(1) == histogram.most == 1.0
    assert histogram.up_to(0.3) == pytest.approx(30, abs=1) and Histogram().percentile(0.5) == 0
    histogram.add(1e6)
    assert histogram.most == 1e6


def test_what_is_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM", "rtmps://user:pass@live.example:443/app/KEY?token=TOKEN")
    for address in (
        destination_address("env:STREAM"),
        source_address("http://user:pass@live.example/KEY/x.ts?sig=TOKEN"),
        source_address("srt://live.example:9000?streamid=KEY&passphrase=TOKEN"),
    ):
        for text in (address.shown, str(address.path), repr(address)):
            assert "live.example" in text
            assert not any(secret in text for secret in ("KEY", "TOKEN", "pass@", "user"))
    assert destination_address("rtmp://live.example/app/KEY").shown == "rtmp://live.example/app/…"
