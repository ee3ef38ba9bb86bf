"""The lateral-line network in Brian2: LL to MON to TS with spike-timing-dependent plasticity."""
