"""What may be done before the encoder: nothing, a trivial filter, a network, a program, or the encoder's own tuning."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scene.errors import MissingError, UsageError
from scene.evaluation.grid.focus import Focus, parse_focus
from scene.measure.encode import PRESET
from scene.measure.names import display_name
from scene.video.encoders import ENCODERS, find_encoder
from scene.video.encoders.base import Encoder
from scene.video.encoders.params import parse_encoder_args
from scene.video.encoders.svtav1 import VMAF_TUNE, SvtAv1
from scene.video.ffmpeg import locate_program

if TYPE_CHECKING:
    from scene.model import Calibration, Network

# To be raised whenever the same weights would give other pictures than before.
_ENHANCE_VERSION = 2
# To be raised whenever the same encoder would give other embeddings, or others frames other ones, than before.
_SEMANTICS_VERSION = 2
# To be raised whenever the same numbers would give other pictures than before.
_CALIBRATION_VERSION = 3

_NUMBER = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,6})?")
_CONTROLS = ("none", "constant", "random", "shuffled")

DEFAULT_CONTRAST = 1.05
DEFAULT_UNSHARP = 0.3


@dataclass(frozen=True, slots=True)
class Method:
    """One column of the comparison.

    Attributes:
        label: its name in results, unique among the methods of a codec.
        identity: tells methods with different results apart; part of every cache key.
        contrast: factor of luma around mid grey, or None.
        unsharp: amount of a 5x5 unsharp mask on luma, or None.
        network: a network of `scene.model`, or None.
        command: a program and its arguments that reads and writes YUV4MPEG2, or None.
        strength: how much of the network's change is applied.
        calibration: how the network is applied before the method's codecs; see `scene.enhance.calibrated`.
        semantics: what conditions a network that takes embeddings; see `scene.enhance.open_conditioner`.
        codecs: names of the codecs that it is for, or None for all; methods for different codecs may share a label.
        parameters: further settings of the encoder that belong to the method; see `encoder_settings`.
        focus: what moves bits to what matters, or None.
    """

    label: str
    identity: str
    contrast: float | None = None
    unsharp: float | None = None
    network: Network | None = None
    command: tuple[str, ...] | None = None
    strength: float = 1.0
    calibration: Calibration | None = None
    semantics: str = "auto"
    codecs: tuple[str, ...] | None = None
    parameters: tuple[str, ...] = ()
    focus: Focus | None = None

    def serves(self, codec: str) -> bool:
        """Whether it is measured with this codec."""
        return self.codecs is None or codec in self.codecs

    @property
    def conditioned(self) -> bool:
        """Whether it is a quantiser-conditioned network: its pictures then depend on codec and CRF."""
        return self.network is not None and self.network.config.quantiser is not None

    def step(self, codec: str, crf: float) -> float | None:
        """The step that conditions its network before an encode at this CRF; None for one without that input.

        It is clamped into the range of the training, beyond which the network gives the same pictures.
        """
        if self.network is None or self.network.config.quantiser is None:
            return None
        low, high = self.network.config.quantiser
        from scene.enhance.calibrated import conditioning_step

        return min(max(conditioning_step(self.network, find_encoder(codec), crf), low), high)

    def identity_at(self, step: float | None) -> str:
        """What tells its pictures apart from those of other methods and, where it has a step, of other steps."""
        return self.identity if step is None else f"{self.identity}:step={step:.4g}"

    def filter_graph(self, bit_depth: int) -> str | None:
        """The method as a filter of ffmpeg, if it is one."""
        if self.contrast is not None:
            grey = 128 << (bit_depth - 8)
            return f"lutyuv=y='round((val-{grey})*{self.contrast:g}+{grey})'"
        if self.unsharp is not None:
            return f"unsharp=5:5:{self.unsharp:g}"
        return None


NONE = Method("none", "none")
# An encoder that pre-processes by itself. Of two values of one key it takes the last.
SVTAV1_VMAF = Method(
    f"{SvtAv1.name}:vmaf", f"{SvtAv1.name}:{VMAF_TUNE}", codecs=(SvtAv1.name,), parameters=(VMAF_TUNE,)
)


_FIRST_WITH_VMAF_TUNE = (4, 2)


def has_vmaf_tune(svtav1: str) -> bool:
    """Whether SVT-AV1 of this version has the tune of `SVTAV1_VMAF`."""
    numbers = re.match(r"(\d+)\.(\d+)", svtav1)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _FIRST_WITH_VMAF_TUNE


def check_encoders(methods: Sequence[Method], encoders: Mapping[str, str]) -> None:
    """Refuses a method that needs a newer encoder.

    Args:
        encoders: versions by codec.

    Raises:
        MissingError: this build of the encoder has not what a method asks for.
    """
    if SVTAV1_VMAF in methods and not has_vmaf_tune(encoders[SvtAv1.name]):
        raise MissingError(
            f"{SVTAV1_VMAF.label} needs SVT-AV1 4.2, and this PyAV has {encoders[SvtAv1.name]}; leave the method out."
        )


def parse_method(text: str, *, strength: float = 1.0) -> Method:
    """A method by name: none, contrast[:FACTOR], unsharp[:AMOUNT], svtav1:vmaf, a shipped network, or a weights file.

    `x264:tune=ssim` is the encoder with parameters of its own, which may be several, `preset` among them; after a plus
    they belong to another method, as in `scene+x265:preset=slow:mcstf=1`. `focus:SOURCE[:STRENGTH[:BY]]`, alone
    or after a plus as well, moves bits to what matters; see `scene.evaluation.grid.focus`.

    A network may be followed by a strength of its own, as in `scene:0.5`, and one that takes semantic embeddings by the
    control that stands in for them: `scene:none`, `scene:constant`, `scene:random`, `scene:shuffled`.

    Args:
        strength: of networks that have none of their own.

    Raises:
        UsageError: an unknown name, or a parameter out of range.
        InputError, CheckpointError: the weights file is missing or damaged.
    """
    base, plus, tuned = text.rpartition("+")
    codec, _, settings = tuned.partition(":")
    if codec in ENCODERS and "=" in settings:
        before = parse_method(base, strength=strength) if plus else NONE
        return _with_parameters(text, before, ENCODERS[codec], settings)
    if tuned.startswith("focus:"):
        return _with_focus(text, parse_method(base, strength=strength) if plus else NONE, parse_focus(tuned))
    name, _, parameter = text.partition(":")
    if text in (NONE.label, SVTAV1_VMAF.label):
        return NONE if text == NONE.label else SVTAV1_VMAF
    if name == "contrast":
        factor = _parameter(text, parameter, DEFAULT_CONTRAST, 0.0, 4.0)
        return Method(text, f"contrast:{factor:g}", contrast=factor)
    if name == "unsharp":
        amount = _parameter(text, parameter, DEFAULT_UNSHARP, -2.0, 5.0)
        return Method(text, f"unsharp:5:5:{amount:g}", unsharp=amount)
    network, _, suffix = text.rpartition(":")
    if network and suffix in _CONTROLS:
        return _network_method(network, strength, suffix)
    if network and _NUMBER.fullmatch(suffix):
        method = _network_method(network, _parameter(text, suffix, strength, 0.0, 4.0), "auto")
        return replace(method, label=f"{method.label}:{suffix}")
    return _network_method(text, strength, "auto")


def parse_filter(text: str) -> Method:
    """A method of a program of the user's own, of `NAME=PROGRAM ARGUMENTS`; quotes as in a shell, but there is none.

    The identity holds the words and the content of every one that is a file, the program first of all; of other
    things that the program reads it knows nothing.

    Raises:
        UsageError: no name, no program, or quotes that do not close.
        MissingError: there is no such program.
    """
    label, equals, command = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", label):
        raise UsageError(f"{display_name(text)!r} must be NAME=PROGRAM ARGUMENTS, for example dn=denoise -s 2.")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{display_name(command)!r} cannot be taken apart into words ({error}).") from error
    if not words:
        raise UsageError(f"{display_name(text)!r} names no program.")
    files = [locate_program(words[0]), *(path for path in map(Path, words[1:]) if path.is_file())]
    content = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()
    return Method(label, f"command:{display_name(shlex.join(words))}:{content[:16]}", command=tuple(words))


def parse_methods(names: Sequence[str], *, strength: float = 1.0, filters: Sequence[str] = ()) -> tuple[Method, ...]:
    """Several methods, `none` first: it is the anchor of every BD-rate, so it is always among them.

    Two files of one name get the start of their hash appended.

    Args:
        filters: programs, see `parse_filter`; they come last.

    Raises:
        UsageError, InputError, CheckpointError: see `parse_method`.
        MissingError: see `parse_filter`.
    """
    methods = [parse_method(name, strength=strength) for name in dict.fromkeys(names) if name != "none"]
    labels = [method.label for method in methods]
    unique: list[Method] = [NONE]
    for method in methods:
        label = method.label
        if label == "none" or labels.count(label) > 1:
            label = f"{label}@{method.identity.split(':')[1][:8]}"
        unique.append(replace(method, label=label))
    unique = [fitted for method in unique for fitted in fit_to_codecs(method)]
    for method in map(parse_filter, filters):
        if method.label in [other.label for other in unique]:
            raise UsageError(f"the name {method.label!r} of `filter` is taken; give it another.")
        unique.append(method)
    return tuple(unique)


def fit_to_codecs(method: Method) -> tuple[Method, ...]:
    """A method as it is used before each codec: several of one label where that differs."""
    if method.network is None or not method.conditioned or method.codecs is not None:
        return (method,)
    from scene.enhance.calibrated import calibration_for

    groups: dict[Calibration, list[str]] = {}
    for encoder in ENCODERS.values():
        if encoder.measured_crfs and (method.focus is None or method.focus.serves(encoder)):
            # The step is the method's own business.
            calibration = replace(calibration_for(method.network, encoder), step=1.0)
            groups.setdefault(calibration, []).append(encoder.name)
    return tuple(
        replace(
            method,
            identity=_network_identity(method.network, method.strength, method.semantics, calibration)
            + ("" if method.focus is None else f"+{method.focus.identity}"),
            calibration=calibration,
            codecs=tuple(names),
        )
        for calibration, names in groups.items()
    )


def _with_parameters(text: str, method: Method, encoder: Encoder, settings: str) -> Method:
    """A method before an encoder with further parameters."""
    if method.parameters or not method.serves(encoder.name):
        raise UsageError(f"{text!r}: {method.label} is not for {encoder.name}, or has parameters already.")
    items = parse_encoder_args(settings)
    presets = [value for key, value in items if key == PRESET]
    if any(preset not in encoder.presets for preset in presets):
        raise UsageError(f"{text!r}: {encoder.name} has the presets {', '.join(encoder.presets)}.")
    own = [(key, value) for key, value in items if key != PRESET]
    encoder.check_args(own)
    (fitted,) = (one for one in fit_to_codecs(method) if one.serves(encoder.name))
    return replace(
        fitted,
        label=text,
        identity=f"{fitted.identity}+{encoder.name}:{settings}",
        codecs=(encoder.name,),
        parameters=tuple(f"{key}={value}" for key, value in items),
    )


def _with_focus(text: str, method: Method, focus: Focus) -> Method:
    """A method before an encoder that is told what matters."""
    if method.focus is not None:
        raise UsageError(f"{text!r}: {method.label} has a focus already.")
    able = [name for name, encoder in ENCODERS.items() if focus.serves(encoder) and method.serves(name)]
    # A conditioned network is fitted to each codec later.
    codecs = None if method.conditioned and method.codecs is None else tuple(able)
    return replace(method, label=text, identity=f"{method.identity}+{focus.identity}", codecs=codecs, focus=focus)


def methods_for(methods: Sequence[Method], codecs: Sequence[str]) -> tuple[Method, ...]:
    """The methods that have a part in measuring these codecs, in order.

    Raises:
        UsageError: one that was asked for is for none of them.
    """
    serving = tuple(method for method in methods if any(map(method.serves, codecs)))
    labels = {method.label for method in serving}
    for method in methods:
        if method.label not in labels:
            raise UsageError(f"{method.label} is for {', '.join(method.codecs or ())}, which is not among the codecs.")
    return serving


def _network_method(text: str, strength: float, semantics: str) -> Method:
    # Imported here: torch takes seconds to load, and filters do not need it.
    from scene.model import load_model, model_names

    shipped = text in model_names()
    looks_like_file = text.endswith(".safetensors") or "/" in text or Path(text).exists()
    if not shipped and not looks_like_file:
        known = ", ".join(
            ["none", "contrast[:FACTOR]", "unsharp[:AMOUNT]", SVTAV1_VMAF.label, "CODEC:KEY=VALUE", *model_names()]
        )
        raise UsageError(f"method {text!r} is unknown; choose from {known}, or give a .safetensors file.")
    network = load_model(text)
    label = text if shipped else display_name(Path(text).stem)
    if semantics != "auto":
        if network.config.guidance != "embedding":
            raise UsageError(f"{text!r} takes no semantic embedding, so that {semantics!r} cannot stand in for one.")
        label = f"{label}:{semantics}"
    identity = _network_identity(network, strength, semantics)
    return Method(label, identity, network=network, strength=strength, semantics=semantics)


def _network_identity(network: Network, strength: float, semantics: str, calibration: Calibration | None = None) -> str:
    fingerprint = network.identity.rpartition("@")[2]
    applied = strength if calibration is None else strength * calibration.strength
    identity = f"network:{fingerprint}:strength={applied:g}:v{_ENHANCE_VERSION}"
    if calibration is not None and (calibration.temporal is not None or calibration.bank):
        numbers = hashlib.sha256(repr((strength, calibration)).encode()).hexdigest()
        identity += f":calibration={numbers[:12]}:v{_CALIBRATION_VERSION}"
    if network.config.guidance == "embedding":
        identity += f":semantics={semantics}:v{_SEMANTICS_VERSION}"
    return identity


def _parameter(text: str, parameter: str, default: float, low: float, high: float) -> float:
    if ":" not in text:
        return default
    if not _NUMBER.fullmatch(parameter) or not low <= float(parameter) <= high:
        raise UsageError(f"{text!r}: the value after the colon must be a number from {low:g} to {high:g}.")
    return float(parameter)
