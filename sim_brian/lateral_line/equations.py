"""Equations of the lateral-line network, each written once.

Potentials and synaptic drives in mV, one clock tick per step. Order of a step:

1. every cell: v, then ge, gi, then the traces (all from the values of the step before);
2. thresholds, background events;
3. synapses onto ge and gi, and what a source spike does to its synapses' weights: with the
   target's trace as it was before this step's spikes;
4. resets: v, refractory counter, and the traces of the cells that fired;
5. what a target spike does to its synapses' weights: with the source's trace, spikes of this step
   included.

That is Brian2's own order (state, threshold, all pre code, all post code) for pairs of traces per
synapse: pairing is all to all and delays are zero, so that the traces of a cell's synapses are all
equal, and one trace per cell takes their place. Two exponentials per synaptic event are saved.
"""

from __future__ import annotations

CELL = """
v : 1
ge : 1
gi : 1
ref : integer
leak : 1 (shared, constant)
keep_syn : 1 (shared, constant)
el : 1 (shared, constant)
vth : 1 (shared, constant)
vreset : 1 (shared, constant)
n_ref : integer (shared, constant)
"""
"""State of a cell: v, ge, gi (mV) and the refractory steps left; `leak` is dt / tau_m,
`keep_syn` 1 - dt / tau_s (forward Euler)."""

CELL_STEP = """
ref = ref - int(ref > 0)
v = v + int(ref == 0) * (leak * (el - v + ge - gi))
ge = ge * keep_syn
gi = gi * keep_syn
"""
# The decrement comes first: a cell that fired at step k with 2 refractory steps is held at k + 1
# and integrates again at k + 2. Synaptic drives decay while it is held.

THRESHOLD = "v > vth"
RESET = """
v = vreset
ref = n_ref
"""

BACKGROUND = """
cursor : integer
next_step : integer
w_bg : 1 (shared, constant)
"""
"""Background of a cell: a list of steps in the table `background`, and the weight (mV)."""

BACKGROUND_EVENT = "t_in_timesteps >= next_step"
BACKGROUND_EFFECT = """
ge = ge + w_bg
cursor = cursor + 1
next_step = int(background(cursor * second))
"""

AFFERENT = """
cursor : integer
next_step : integer
"""
AFFERENT_THRESHOLD = "t_in_timesteps >= next_step"
AFFERENT_RESET = """
cursor = cursor + 1
next_step = int(afferents(cursor * second))
"""


def trace(name: str) -> str:
    """Return the equations of a spike trace: its value, its jump, its decay per step."""
    return f"{name} : 1\n{name}_jump : 1 (shared, constant)\n{name}_keep : 1 (shared, constant)\n"


def trace_step(name: str) -> str:
    """Return the decay of a trace in one step."""
    return f"{name} = {name} * {name}_keep\n"


def trace_reset(name: str) -> str:
    """Return what a spike does to a trace."""
    return f"{name} = {name} + {name}_jump\n"


PLASTIC = """
w : 1
wmax : 1 (shared, constant)
plastic : 1 (shared, constant)
"""
"""Weight and ceiling; `plastic` is 1 or 0: at 0 not a bit of a weight changes."""


def learn(change: str) -> str:
    """Return the clipped weight change of a plastic synapse."""
    return f"w = plastic * clip(w + {change}, 0, wmax) + (1 - plastic) * w\n"


# MON to TS: additive. Its pre trace `pre_ts` is the MON cell's, `post_mon` the TS cell's.
MON_TS_PRE = "ge_post += gain * w\n" + learn("post_mon_post")
MON_TS_POST = learn("pre_ts_pre")
# LL to MON: multiplicative. `pre_mon` is the afferent's, `post_ll` the MON cell's.
LL_MON_PRE = "ge_post += w\n" + learn("post_ll_post * w")
LL_MON_POST = learn("pre_mon_pre * (wmax - w)")
