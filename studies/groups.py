"""The option groups of the commands that work on a run folder of a network."""

from __future__ import annotations

from bridge.lateral_line.run_options import LATERAL_LINE_GROUPS
from bridge.runs.groups import PING_GROUPS, SIM_GROUPS
from bridge.runs.groups_crosscheck import CROSSCHECK_GROUPS
from bridge.runs.groups_machine import BUILD_GROUPS, DOCTOR_GROUPS
from bridge.runs.groups_scan import SCAN_GROUPS, VIDEO_GROUPS
from bridge.runs.groups_train import INFER_GROUPS, TRAIN_GROUPS
from bridge.runs.options import Options

GROUPS: dict[str, tuple[type[Options], ...]] = {
    "sim": SIM_GROUPS,
    "image": SIM_GROUPS,
    "train": TRAIN_GROUPS,
    "infer": INFER_GROUPS,
    "video": (*PING_GROUPS, *VIDEO_GROUPS),
    "scan": (*PING_GROUPS, *SCAN_GROUPS),
    "crosscheck": CROSSCHECK_GROUPS,
    "build": BUILD_GROUPS,
    "doctor": DOCTOR_GROUPS,
    "lateral-line": LATERAL_LINE_GROUPS,
}
"""By what is typed for a command. A run may be inherited by any of them: their keys are legal."""


def all_groups(own: tuple[type[Options], ...]) -> tuple[type[Options], ...]:
    """Return the groups of every command here, those of the running one last: their keys count."""
    every = dict.fromkeys(group for groups in GROUPS.values() for group in groups)
    return (*(group for group in every if group not in own), *own)
