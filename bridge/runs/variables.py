"""The scan variables: what each is called and which values it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ScanVariable:
    """A parameter that can be swept.

    Attributes
    ----------
    name : str
        As published.
    unit : str
        "" for none.
    text : str
        What it is.
    above, at_least : float or None
        Legal values.
    whole : bool
        Takes whole numbers only.
    flag : str or None
        The flag that sets it in a single run.
    """

    name: str
    unit: str
    text: str
    above: float | None = None
    at_least: float | None = None
    whole: bool = False
    flag: str | None = None

    def check(self, value: float) -> None:
        """Refuse a value that no network can have.

        Raises
        ------
        ValueError
            Naming the variable and the value.
        """
        unit = f" {self.unit}" if self.unit else ""
        if not math.isfinite(value):
            must = "be a finite number"
        elif self.above is not None and value <= self.above:
            must = f"be > {self.above:g}"
        elif self.at_least is not None and value < self.at_least:
            must = f"be >= {self.at_least:g}"
        elif self.whole and value != int(value):
            must = "be a whole number"
        else:
            return
        raise ValueError(f"--scan-var {self.name}: the value {value:g}{unit} must {must}")


VARIABLES: Mapping[str, ScanVariable] = {
    v.name: v
    for v in (
        ScanVariable(
            name="stim-overdrive", unit="x", at_least=0, flag="stim-overdrive",
            text="factor on the drive from 200 to 300 ms",
        ),
        ScanVariable(
            name="tau_gaba", unit="ms", above=0, flag="tau-gaba", text="GABA decay",
        ),
        ScanVariable(
            name="tau_ampa", unit="ms", above=0, flag="tau-syn", text="AMPA decay",
        ),
        ScanVariable(
            name="w_ei_mean", unit="uS", at_least=0,
            text="mean of W_EI; the matrix is drawn once and scaled",
        ),
        ScanVariable(
            name="w_ie_mean", unit="uS", at_least=0,
            text="mean of W_IE; the matrix is drawn once and scaled",
        ),
        ScanVariable(
            name="ei_strength", unit="", at_least=0, flag="ei-strength",
            text="joint scale of W_EI and W_IE",
        ),
        ScanVariable(
            name="spike_rate", unit="Hz", at_least=0, flag="input-rate",
            text="Poisson rate of an input channel",
        ),
        ScanVariable(
            name="bias", unit="uS", at_least=0, flag="bias",
            text="constant conductance of E cells in each step, calibrated at dt 0.1",
        ),
        ScanVariable(
            name="dt", unit="ms", above=0, flag="dt",
            text="time step; the same input events on another grid",
        ),
        ScanVariable(
            name="digit", unit="", at_least=0, whole=True, flag="digit", text="dataset class",
        ),
        ScanVariable(
            name="noise", unit="Hz", at_least=0, text="Poisson spikes added to every input channel",
        ),
    )
}  # fmt: skip
"""The scan variables by name, in the order of the reference (Source: pinglab)."""


def at_values(values: Mapping[str, float]) -> str:
    """Return values in words: ``tau_gaba = 9 ms, bias = 0 uS``."""
    return ", ".join(
        f"{name} = {value:.6g} {VARIABLES[name].unit}".rstrip() for name, value in values.items()
    )
