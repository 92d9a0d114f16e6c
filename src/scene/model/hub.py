"""Networks as Hugging Face's users keep them: a folder with weights and a model card, here or on the Hub."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from scene.errors import InputError, MissingError, UsageError
from scene.files import write_atomically
from scene.model.checkpoint import read_network, save_network
from scene.model.network import Network
from scene.model.registry import model_names, resolve_model

WEIGHTS = "model.safetensors"
CARD = "README.md"
# OWNER/NAME; what ends like a file is one.
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?<!\.safetensors)")


def from_pretrained(name_or_path: str | Path, *, revision: str | None = None) -> Network:
    """A network in eval mode on the CPU.

    Args:
        name_or_path: a shipped name, a .safetensors file, a folder of `save_pretrained`, or OWNER/NAME on the Hub.
        revision: branch, tag or commit there.

    Raises:
        UsageError: an unknown name.
        InputError, CheckpointError: the weights are missing, cannot be fetched, are damaged or not a SCENE network.
        MissingError: the name is one on the Hub, and huggingface_hub is not installed.
    """
    text, path = str(name_or_path), Path(name_or_path)
    if path.is_dir():
        return _named(read_network(path / WEIGHTS), path.resolve().name)
    if text not in model_names() and not path.exists() and _HUB_ID.fullmatch(text):
        return _named(read_network(_fetched(text, revision)), text.rpartition("/")[2])
    return read_network(resolve_model(name_or_path))


def save_pretrained(network: Network, folder: str | Path, record: dict[str, Any] | None = None) -> None:
    """Writes weights (model.safetensors) and a model card (README.md) into a folder, which is made if need be.

    Args:
        network: of any kind.
        folder: where; files of these names are replaced.
        record: how the network was trained; None for what its own file said.

    Raises:
        UsageError: the folder is a file, or cannot be made.
    """
    folder = Path(folder)
    _write(network, folder, network.record if record is None else record, folder.resolve().name)


def _write(network: Network, folder: Path, record: dict[str, Any], place: str) -> None:
    """Weights and the card that says how they are had from `place`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be a folder ({error.strerror})") from None
    save_network(network, folder / WEIGHTS, record)
    write_atomically(folder / CARD, model_card(network, record, place))


def push_to_hub(
    network: Network,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str = "Upload a SCENE network",
) -> str:
    """Puts what `save_pretrained` writes into a repository on the Hub, which is made if need be.

    Args:
        network: of any kind.
        repo_id: OWNER/NAME.
        private: whether a repository that is made is private; None for the owner's default.
        token: of the Hub; None for the one that `hf auth login` keeps.
        commit_message: of the upload.

    Returns:
        The address of the commit.

    Raises:
        InputError: the Hub refuses or cannot be reached.
        MissingError: huggingface_hub is not installed.
    """
    hub = _hub("pushing to the Hub")
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        _write(network, folder, network.record, repo_id)
        try:
            api = hub.HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message))
        except Exception as error:
            raise InputError(f"{repo_id} cannot be pushed to ({_first_line(error)})") from error


def model_card(network: Network, record: dict[str, Any], place: str) -> str:
    """The card of a network in Markdown: what it is, how it was trained, what it is calibrated for, how to use it.

    Args:
        network: of any kind.
        record: how it was trained; may be empty.
        place: what `from_pretrained` takes: a folder, or OWNER/NAME.
    """
    config = network.config
    if config.body:
        guide = "its own features"
        if config.guidance == "embedding":
            guide = network.semantics.identity if network.semantics else "a semantic embedding"
        what = f"A network of {network.count_parameters():,} parameters on {config.planes}, conditioned on {guide}"
        what += " and on the quantiser step of the encoder to come." if config.quantiser else "."
    else:
        what = "No network: a bank of filters, and maybe a temporal filter, whose numbers encoders settled."
    lines = [
        "---",
        "library_name: scene-codec",
        "tags: [scene-codec, video, pre-processing]",
        "---",
        "",
        f"# {place.rpartition('/')[2]}",
        "",
        f"A model for [SCENE](https://pypi.org/project/scene-codec/), which runs before a video encoder. {what}",
    ]
    if network.calibrations:
        lines += ["", f"Calibrated for {', '.join(sorted(network.calibrations))}."]
    if "steps" in record:
        lines += [
            "",
            f"Trained for {record['steps']} steps, {record.get('seconds', 0):.0f} s on {record.get('device')}.",
        ]
    lines += [
        "",
        "```python",
        "from scene.model import Network",
        "",
        f'network = Network.from_pretrained("{place}")',
        "```",
    ]
    if record:
        lines += ["", "## Record", "", "```json", json.dumps(record, indent=2, sort_keys=True), "```"]
    return "\n".join(lines) + "\n"


def _named(network: Network, name: str) -> Network:
    """The file's own name says nothing: it is the same in every folder."""
    network.identity = f"{name}@{network.identity.rpartition('@')[2]}"
    return network


def _fetched(repo_id: str, revision: str | None) -> Path:
    hub = _hub(f"{repo_id} is neither a file nor a shipped model, and fetching it")
    try:
        return Path(hub.hf_hub_download(repo_id, WEIGHTS, revision=revision))
    # The Hub's errors and those of its transport have no base in common.
    except Exception as error:
        raise InputError(f"{repo_id} is neither here nor can it be fetched ({_first_line(error)})") from error


def _hub(purpose: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingError(f"{purpose} needs huggingface_hub: pip install huggingface_hub") from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
