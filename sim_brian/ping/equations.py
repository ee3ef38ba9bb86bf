"""The membrane and synapse equations of the E-I networks, each written once.

Voltages are numbers in mV, conductances in µS, times in ms: the closed units of
:mod:`bridge.network.spec`, so that Brian2 computes with the same numbers, in the same order, as
the torch mirror. The order of a step is the contract of :mod:`bridge.network.update_order`.
Time constants enter as decay factors and the clock counts steps, so that no value of a network,
dt included, is a literal of the generated code.
"""

from __future__ import annotations

CONDUCTANCE_CELL = """
v : 1
ge : 1
gi : 1
ke : 1
ki : 1
ref : integer
lost : integer
g_bias : 1 (shared, constant)
decay_ampa : 1 (shared, constant)
decay_gaba : 1 (shared, constant)
g_leak : 1 (shared, constant)
e_leak : 1 (shared, constant)
e_exc : 1 (shared, constant)
e_inh : 1 (shared, constant)
c_m : 1 (shared, constant)
dt_ms : 1 (shared, constant)
v_th : 1 (shared, constant)
v_reset : 1 (shared, constant)
v_floor : 1 (shared, constant)
n_ref : integer (shared, constant)
"""
"""State: v (mV), conductances ge, gi (µS), the kicks ke, ki (µS) that arrived since the last step,
the refractory steps left, and the first step (from 1) at which the voltage was lost: not finite, or
beyond a million mV. The same equations serve E and I cells."""


def own_constants(cell: str) -> str:
    """Return the variables of a cell, with constants that differ between the cells of a group."""
    return cell.replace("(shared, constant)", "(constant)")


_CONDUCTANCE_STEP = """
ge = ge * decay_ampa + ({drive})
gi = gi * decay_gaba + ki
ke = 0
ki = 0
_g = g_leak + (ge + gi)
_v_inf = (g_leak * e_leak + (ge * e_exc + gi * e_inh)) / _g
_v_free = v + (_v_inf - v) * (1 - exp(-dt_ms / (c_m / _g)))
lost = lost + int(lost == 0) * int(not (abs(_v_free) < 1e6)) * (t_in_timesteps + 1)
_v_new = clip(_v_free, v_floor, inf)
ref = ref - int(ref > 0)
v = _v_new * int(ref == 0) + v_reset * int(ref > 0)
"""
# A cell that is still refractory is integrated and then held: v_reset < v_th (checked by the
# spec), so that the threshold test needs no second condition.

CONDUCTANCE_THRESHOLD = "v >= v_th"
CONDUCTANCE_RESET = """
v = v_reset
ref = n_ref
"""


def conductance_step(*, external: bool) -> str:
    """Return the update of conductance-based cells for one step.

    Parameters
    ----------
    external : bool
        Read an external conductance (µS per step) for each cell from the table `g_ext`.
    """
    drive = "ke + g_bias"
    if external:
        drive += " + g_ext((t_in_timesteps * N + i) * second)"
    return _CONDUCTANCE_STEP.format(drive=drive)


CURRENT_CELL = """
v : 1
ke : 1
ki : 1
leak : 1 (shared, constant)
tau_ms : 1 (shared, constant)
v_th : 1 (shared, constant)
"""
"""Dimensionless voltage; ke and ki are the weights of the spikes since the last step;
`leak` is dt / tau."""

CURRENT_STEP = """
v = clip(v - leak * v + (ke - ki) / tau_ms, 0, inf)
ke = 0
ki = 0
"""
CURRENT_THRESHOLD = "v >= v_th"
CURRENT_RESET = "v = 0"

EVENT_SOURCE = """
cursor : integer
next_step : integer
"""
"""A cell that plays back a list of steps; `cursor` walks through the table `events`, in which each
cell's steps are ascending and end with a step that never comes."""

EVENT_THRESHOLD = "t_in_timesteps >= next_step"
EVENT_RESET = """
cursor = cursor + 1
next_step = int(events(cursor * second))
"""
