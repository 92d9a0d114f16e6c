"""What was won, as one sentence, by the metric that a knob hardly fools. Pure: numbers in, words out."""

from __future__ import annotations

from collections.abc import Mapping

from scene.metrics.scores import METRICS

# Contrast and sharpening raise VMAF, and NEG was made to see through them.
HONEST = "vmaf_neg"
# Said beside it: neither is raised by contrast, and PSNR is what most pre-processing pays with.
BESIDE = ("ms_ssim", "psnr_y")
_TITLES = {metric.name: metric.title for metric in METRICS}


def gain_sentence(
    bd_rates: Mapping[str, float | None],
    *,
    clips: int = 1,
    of_clips: int | None = None,
    subject: str = "this clip",
) -> str:
    """Differences of rate at equal score as a sentence: "At equal VMAF NEG this clip needs 10.1 % fewer bits; ...".

    Args:
        bd_rates: of one method against its anchor, in percent by name of `scene.metrics.scores.METRICS`; negative is
            a saving, None is not defined. Those of `BESIDE` that are missing are not spoken of.
        clips: over how many VMAF NEG's figure is a mean.
        of_clips: how many there are; None for as many.
        subject: of what the figures are, where it is one clip.
    """
    value = bd_rates.get(HONEST)
    total = clips if of_clips is None else of_clips
    whose = subject if total == 1 else f"these {total} clips"
    said = f"At equal {_TITLES[HONEST]} "
    if value is None:
        said += f"nothing can be said of {whose}: the curves do not allow a comparison"
    elif clips == 1:
        said += f"{whose if total == 1 else f'1 of {whose}'} needs {_change(value)}"
    else:
        said += f"{whose if clips == total else f'{clips} of {whose}'} need {_change(value)} on average"
    beside = ", ".join(f"{_TITLES[name]} {_signed(bd_rates[name])}" for name in BESIDE if name in bd_rates)
    return f"{said}; {beside}." if beside else f"{said}."


def _change(percent: float) -> str:
    rounded = round(percent, 1)
    if rounded == 0:
        return "as many bits as without"
    return f"{abs(rounded):.1f} % {'fewer' if rounded < 0 else 'more'} bits"


def _signed(percent: float | None) -> str:
    if percent is None:
        return "not comparable"
    rounded = round(percent, 1)
    return f"{rounded:+.1f} %" if rounded else "0.0 %"
