"""Which model keeps up with an encoder here: what `model` auto comes to."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from scene.jobs.samples.speed import SpeedTrial, open_speed_trial, together, untried
from scene.options import AUTO_MODEL, DEFAULT_MODEL, EnhanceOptions
from scene.video.encoding.plan import EncodePlan

log = logging.getLogger(__name__)

# From what saves most to what takes least time.
CANDIDATES = ("scene-lite", "scene-fast")
# A model keeps up if the encode takes at most so many times as long as without it.
_MOST = 1.25
_FRAMES = 24


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model and why.

    Attributes:
        model: its name.
        ratios: of the time of an encode with each model that was tried to one without, in the order of `CANDIDATES`.
        frames: that were tried, 0 for none.
        unknown: why nothing was tried, empty if something was.
    """

    model: str
    ratios: dict[str, float]
    frames: int
    unknown: str = ""

    @property
    def reason(self) -> str:
        """In words."""
        if self.unknown:
            return f"the default, as {self.unknown}"
        tried = " and ".join(f"{ratio:.2f} times with {name}" for name, ratio in self.ratios.items())
        kept_up = self.ratios[self.model] <= _MOST
        rule = f"the best that takes at most {_MOST:g} times" if kept_up else "the fastest there is"
        return f"{rule}: encoding takes {tried} as long as without a model ({self.frames} frames were tried)"


def choose_model(plan: EncodePlan, options: EnhanceOptions, *, whole: bool = False) -> ModelChoice:
    """The best model that keeps up with an encode, by a trial on this machine as busy as it is.

    Args:
        options: of the model, whose name counts for nothing.
        whole: see `scene.jobs.samples.speed.untried`.

    Raises:
        UsageError, InputError, MissingError: the source cannot be read where it is sampled, or the device is missing.
    """
    if unknown := untried(plan, whole=whole):
        return ModelChoice(DEFAULT_MODEL, {}, 0, unknown)
    with open_speed_trial(plan, 1, _FRAMES) as trial:
        _, encoding = trial.encode(trial.samples[0])
        ratios: dict[str, float] = {}
        for name in CANDIDATES:
            ratios[name] = _ratio(trial, replace(options, model=name), encoding)
            if ratios[name] <= _MOST:
                break
        return ModelChoice(name, ratios, trial.frames)


def with_model_chosen(plan: EncodePlan, options: EnhanceOptions, *, whole: bool = False) -> EnhanceOptions:
    """The options with a model's name in place of `auto`, and a line in the log that says why; others as they are."""
    if options.model != AUTO_MODEL or options.changes_nothing:
        return options
    choice = choose_model(plan, options, whole=whole)
    log.info("%s: model %s, %s.", plan.info.path, choice.model, choice.reason)
    return replace(options, model=choice.model)


def _ratio(trial: SpeedTrial, options: EnhanceOptions, encoding: float) -> float:
    # Torch takes seconds to import.
    from scene.enhance import open_enhancer

    plan = trial.plan
    enhancer = open_enhancer(options, codec=plan.encoder.name, crf=plan.conditioning_crf)
    trial.warm_up(enhancer)
    _, enhancing = trial.enhance(trial.samples[0], enhancer)
    return together(enhancing, encoding, enhancer) / encoding
