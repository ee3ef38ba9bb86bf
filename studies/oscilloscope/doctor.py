"""``doctor``: what this machine can run, and what it lacks."""

from __future__ import annotations

import logging
from typing import Any

from bridge.runs.groups_machine import DOCTOR_GROUPS, DoctorOptions

log = logging.getLogger("pingbridge")

_SIGNS = {"ok": "ok", "info": "", "missing": "--", "wrong": "!!"}


def doctor(**given: Any) -> None:
    """Print what this machine can run; fail where something can't work, or what is needed can't."""
    from bridge.runs.resolve import resolve
    from sim_brian.engine.doctor import examine
    from train_torch.network.device import examine as examine_torch

    needs = resolve(DOCTOR_GROUPS, given)[DoctorOptions].needs
    found = [
        *((f.name, f.state, f.text) for f in examine()),
        *(("torch" if name == "torch" else f"torch {name}", state, text)
          for name, state, text in examine_torch()),
    ]  # fmt: skip
    width = max(len(name) for name, _, _ in found)
    for name, state, text in found:
        log.info("%-2s %-*s  %s", _SIGNS[state], width, name, text)
    wrong = [f"{name}: {text}" for name, state, text in found if state == "wrong"]
    if needs is not None:
        lines = {f"--codegen {needs}", needs, needs.replace("torch-", "torch ")}
        wrong += [f"{n}: {t}" for n, s, t in found if n in lines and s == "missing"]
    if wrong:
        raise RuntimeError(wrong[0])
    ready = [name.removeprefix("--codegen ") for name, state, _ in found
             if state == "ok" and name.startswith(("--codegen", "torch"))]  # fmt: skip
    log.info("can run here: %s", ", ".join(ready))
