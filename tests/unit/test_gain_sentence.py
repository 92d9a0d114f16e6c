"""What was won, in words: a gain, a loss, nothing, and what cannot be said."""

from __future__ import annotations

import pytest

from scene.metrics.gain_sentence import gain_sentence

BESIDE = {"ms_ssim": -2.34, "psnr_y": 2.41}


@pytest.mark.parametrize(
    ("neg", "sentence"),
    [
        (-10.14, "At equal VMAF NEG this clip needs 10.1 % fewer bits; MS-SSIM -2.3 %, PSNR +2.4 %."),
        (3.06, "At equal VMAF NEG this clip needs 3.1 % more bits; MS-SSIM -2.3 %, PSNR +2.4 %."),
        (-0.04, "At equal VMAF NEG this clip needs as many bits as without; MS-SSIM -2.3 %, PSNR +2.4 %."),
        (
            None,
            "At equal VMAF NEG nothing can be said of this clip: the curves do not allow a comparison; "
            "MS-SSIM -2.3 %, PSNR +2.4 %.",
        ),
    ],
)
def test_one_clip(neg: float | None, sentence: str) -> None:
    # VMAF, which is easy to raise, is not spoken of.
    assert gain_sentence({"vmaf": -30.0, "vmaf_neg": neg, **BESIDE}) == sentence


def test_what_stands_beside_may_be_missing_undefined_or_nothing() -> None:
    assert gain_sentence({"vmaf_neg": -5.0}) == "At equal VMAF NEG this clip needs 5.0 % fewer bits."
    text = gain_sentence({"vmaf_neg": -5.0, "ms_ssim": -0.01, "psnr_y": None})
    assert text == "At equal VMAF NEG this clip needs 5.0 % fewer bits; MS-SSIM 0.0 %, PSNR not comparable."


@pytest.mark.parametrize(
    ("clips", "of_clips", "whose"),
    [
        (8, None, "these 8 clips need 8.8 % fewer bits on average"),
        (8, 8, "these 8 clips need 8.8 % fewer bits on average"),
        (7, 8, "7 of these 8 clips need 8.8 % fewer bits on average"),
        (1, 1, "this clip needs 8.8 % fewer bits"),
        (1, 2, "1 of these 2 clips needs 8.8 % fewer bits"),
    ],
)
def test_several_clips(clips: int, of_clips: int | None, whose: str) -> None:
    assert gain_sentence({"vmaf_neg": -8.8}, clips=clips, of_clips=of_clips) == f"At equal VMAF NEG {whose}."


def test_no_clip_of_several_can_be_compared() -> None:
    text = gain_sentence({"vmaf_neg": None, "psnr_y": 1.0}, clips=0, of_clips=3)
    assert text.startswith("At equal VMAF NEG nothing can be said of these 3 clips: ")


def test_the_subject_is_named() -> None:
    text = gain_sentence({"vmaf_neg": 1.0}, subject="x.mkv")
    assert text == "At equal VMAF NEG x.mkv needs 1.0 % more bits."
