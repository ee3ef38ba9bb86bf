"""The contract of one time step, for every backend.

Everything on the right-hand side is the value left by step ``n - 1`` unless an index says
otherwise. ``s_E, s_I`` are spikes, ``x[n]`` the input spikes of step ``n``, ``a`` the decay factor
``exp(-dt / tau)`` of the synapse. Layers are computed first to last; the spikes that layer
``l - 1`` emits in step ``n`` reach layer ``l`` in that same step.

Conductance-based layer (`ping`), decay-add::

    ge_E <- ge_E a_AMPA + (s_E W_ee + ff[n])            ff = x W_in, or s_E of the layer below;
    gi_E <- gi_E a_GABA + s_I W_ie                      the layer-1 drive also holds the bias and
    ge_I <- ge_I a_AMPA + s_E W_ei                      the external conductance of step n
    gi_I <- gi_I a_GABA + s_I W_ii
    for the cells of E and of I:
      g     = g_leak + (ge + gi)
      v_inf = (g_leak e_leak + (ge e_exc + gi e_inh)) / g
      v     = max(v + (v_inf - v) (1 - exp(-dt / (C / g))), v_floor)
      ref   = max(ref - 1, 0)
      spike = (v >= v_th) and ref == 0
      v     = v_reset where the cell spiked or ref > 0
      ref   = n_ref_steps where it spiked

The kicks of a step are summed first and then added to the decayed conductance, so that a sum of
weights does not depend on the order of its terms beyond the rounding of the sum itself; weights on
the grid of :func:`bridge.network.weights.on_exact_grid` make that rounding vanish.

Current-based network (`cuba-ping`, `cuba-noping`)::

    V_I <- max(V_I - (dt / tau_m) V_I + (s_E W_ei) / tau_m, 0);       s_I[n] = V_I >= 1
    V_E <- max(V_E - (dt / tau_m) V_E + (x[n] W_in - s_I W_ie) / tau_m, 0);  s_E[n] = V_E >= 1
    reset to 0 where a cell spiked

The leak is multiplied by dt, a spike's kick ``W / tau_m`` is not.

Source: pinglab, models.py; measured against its golden data (see the tests of sim_brian).
"""
