"""Networks that runs have trained, taken from their checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import variants
from bench.computing import use_once
from bench.config import CellConfig
from bench.errors import CellFailed, UserError
from bench.journal.checkpoint import load_checkpoint
from bench.journal.record import CHECKPOINT, Record, read_record
from bench.network.matcher import Matcher, weights_hash


def trained_network(
    folder: Path, config: CellConfig, head: str, proof: str, device: torch.device | str
) -> tuple[Matcher, dict[str, Any]]:
    """The network in the checkpoint of a run's folder, and the whole checkpoint. `head` is what `variants.build` takes.

    `proof` is the record's `weights_hash`. Raises CellFailed where the checkpoint is gone or holds other weights.
    """
    path = folder / CHECKPOINT
    state = load_checkpoint(path, device)
    if state is None:
        raise CellFailed(f"{path} is gone; delete the folder to train this run anew")
    # The proof also for a checkpoint that bears no run's name, as those of earlier versions.
    if weights_hash(state["model"]) != proof:
        raise CellFailed(f"{path} does not hold the trained network; delete the folder to train this run anew")
    model = Matcher(config, head, None).to(device)
    model.load_state_dict(state["model"])
    return model, state


def load_network(folder: Path, device: torch.device | str, head: str | None = None) -> tuple[Matcher, Record]:
    """The network that a run trained, in evaluation mode, and the run's record; nothing is written.

    `head` is the file of a head that the run was given as a file. Raises UserError where the run has trained no network
    yet, has none any more, or has one that this version would score in another way, and for a device that is unusable.
    """
    record = read_record(folder)
    if record is None or record.weights_hash is None:
        raise UserError(f"{folder.name} has no trained network yet; `bench status` says how far it is")
    name = head or record.config.head
    try:
        numerics = variants.describe(name).numerics
    except variants.HeadError as fault:
        raise UserError(f"{folder.name}: {fault}; where its head was a file, say --head FILE") from fault
    if (record.numerics["head"], record.numerics["layers"]) != (numerics, variants.SHARED_NUMERICS):
        raise UserError(f"{folder.name} was made by a version whose {name} scored in another way; run it anew")
    use_once(torch.device(device))
    try:
        model, _ = trained_network(folder, record.config, name, record.weights_hash, device)
    except CellFailed as fault:
        raise UserError(str(fault)) from fault
    return model.eval(), record
