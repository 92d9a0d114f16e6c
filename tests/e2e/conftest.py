"""What the end-to-end tests share."""

from pathlib import Path

import pytest
from pan_clip import write_pan

from scene.video.ffmpeg import FFmpeg, find_ffmpeg


@pytest.fixture(scope="session")
def ffmpeg() -> FFmpeg:
    return find_ffmpeg()


@pytest.fixture(scope="session")
def pan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames."""
    return write_pan(tmp_path_factory.mktemp("pan") / "pan.y4m", 12)
