"""What the course of a training warns of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DEAD_ACT, SATURATED_ACT = 0.01, 0.95
_SPAN_EPOCHS, _STILL_EPOCHS, _STUCK_EPOCHS = 3, 5, 10

MEANING = {
    "dead": "hardly any E cell fires: raise --w-in or the input rate, or set --fr-reg-lower-*",
    "saturated": "nearly every E cell fires: lower --w-in, or set --fr-reg-upper-*",
    "NaN": "a loss or a gradient was not finite: lower --lr, or raise --v-grad-dampen",
    "stuck": f"no improvement for {_STUCK_EPOCHS} epochs",
}


def warnings_now(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the warnings that hold after the last epoch, in the order of `MEANING`.

    Parameters
    ----------
    records : sequence of mapping
        Epoch records so far: ``act``, ``loss``, ``skipped_steps``, ``new_best``.

    Source: pinglab, warning tracker (dead < 1 % or saturated > 95 % activity for 3 epochs and no
    improvement for 5; stuck for 10).
    """
    if not records:
        return []
    still = 0
    for record in reversed(records):
        if record.get("new_best"):
            break
        still += 1
    recent = [record.get("act") for record in records[-_SPAN_EPOCHS:]]
    known = [float(act) for act in recent if act is not None]
    enough = len(known) == _SPAN_EPOCHS and still >= _STILL_EPOCHS
    loss = records[-1].get("loss")
    found = {
        "dead": enough and all(act < DEAD_ACT for act in known),
        "saturated": enough and all(act > SATURATED_ACT for act in known),
        "NaN": loss is None or not math.isfinite(loss) or bool(records[-1].get("skipped_steps")),
        "stuck": still >= _STUCK_EPOCHS,
    }
    return [name for name in MEANING if found[name]]


def warning_spans(records: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, int]]]:
    """Return the spans of epochs (first, last) in which each warning held."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for k, record in enumerate(records):
        epoch = int(record["ep"])
        for name in warnings_now(records[: k + 1]):
            known = spans.setdefault(name, [])
            if known and known[-1][1] == epoch - 1:
                known[-1] = (known[-1][0], epoch)
            else:
                known.append((epoch, epoch))
    return spans
