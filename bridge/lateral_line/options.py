"""The parameters of the lateral-line network: the only place where they are written down.

The fields bear the names of the published parameter set, so that `params.json` reads like the
original's. A preset (:data:`bridge.lateral_line.params.PRESETS`) changes some of the defaults.
Every number has a largest value; what only together needs too much memory is refused in `params`.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.runs.options import Options, option


@dataclass(frozen=True, kw_only=True)
class LayerOptions(Options):
    """Lateral line: layers and schedule."""

    n_ll: int = option(
        100, "lateral-line afferents, one for each neuromast", at_least=2, at_most=5000
    )
    n_mon: int = option(
        3200, "MON cells (expansion layer)", at_least=2, at_most=1_000_000,
        shown_default="3200; ll_fast 800",
    )  # fmt: skip
    n_ts: int = option(
        300, "TS cells (map layer)", at_least=2, at_most=5000, shown_default="300; ll_fast 80"
    )
    dt_s: float = option(0.001, "time step", unit="s", at_least=1e-6, at_most=0.01)
    trial_duration_s: float = option(
        1.2, "length of a training trial (a bookkeeping block)", unit="s", at_least=1e-3,
        at_most=3600, shown_default="1.2; ll_fast 0.8",
    )  # fmt: skip
    n_training_trials: int = option(
        200, "training trials", at_least=0, at_most=10_000_000,
        shown_default="ll_thesis 1000; ll_fast 40",
    )  # fmt: skip
    checkpoint_trials: int = option(
        10, "weight statistics every so many trials", at_least=1, at_most=1_000_000,
        shown_default="ll_thesis 5; ll_fast 4; ll_fast_literal 10",
    )  # fmt: skip
    pv_eval_every_checkpoints: int = option(
        2, "map quality every so many checkpoints", at_least=1, at_most=1_000_000
    )
    checkpoint_save_every_n_checkpoints: int = option(
        10, "the state of training goes to disk every so many checkpoints",
        flag="checkpoint-save-every-n", at_least=1, at_most=1_000_000,
        shown_default="ll_thesis 10; ll_fast 2; ll_fast_literal 1",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StimulusOptions(Options):
    """Lateral line: stimulus."""

    training_position_hold_s: float = option(
        0.05, "how long a training position is held", unit="s", at_least=1e-4, at_most=3600
    )
    training_noise_scale_early: float = option(
        0.0, "noise of held positions in the first part of training, in units of 10 Hz",
        flag="training-noise-early", at_least=0, at_most=1000,
    )  # fmt: skip
    training_noise_scale_late: float = option(
        0.0, "the same in the second part", flag="training-noise-late", at_least=0, at_most=1000
    )
    training_noise_switch_fraction: float = option(
        0.5, "fraction of training at which the noise changes", flag="training-noise-switch",
        at_least=0, at_most=1,
    )  # fmt: skip
    training_ordered_sweeps: bool = option(
        True, "train on sweeps to and fro; otherwise on shuffled positions"
    )
    training_fixed_distance: bool = option(
        True, "train at 1.5 cm whatever the distance limits say",
        shown_default="off; ll_fast_literal on",
    )  # fmt: skip
    training_bidirectional: bool = option(False, "alternate the travel direction in training")
    training_distance_min_cm: float = option(
        0.8, "nearest training distance", unit="cm", at_least=0, at_most=1000
    )
    training_distance_max_cm: float = option(
        1.8, "farthest training distance", unit="cm", at_least=0, at_most=1000,
        shown_default="0.8; ll_fast_literal 1.8",
    )  # fmt: skip
    speed_cm_s: float = option(
        5.0, "speed of the sphere", unit="cm/s", at_least=1e-6, at_most=10_000
    )
    distance_cm: float = option(
        1.5, "test distance", unit="cm", above=0, at_most=1000,
        shown_default="0.8; ll_fast_literal 1.5",
    )  # fmt: skip
    direction: float = option(1.0, "travel direction of the test: +1 or -1", choices=(1.0, -1.0))
    sphere_radius_cm: float = option(
        0.5, "radius of the sphere", unit="cm", at_least=1e-3, at_most=100
    )
    flow_sign: int = option(
        1, "sign of the flow: 1 is that of the published results, -1 the physical one of a sphere "
        "that moves the way it travels", choices=(1, -1),
    )  # fmt: skip
    ll_body_length_cm: float = option(
        4.0, "length of the neuromast array", unit="cm", at_least=0.1, at_most=1000
    )
    test_path_cm: float = option(
        4.0, "length of the test sweep", unit="cm", above=0, at_most=10_000,
        shown_default="5; ll_fast_literal 4",
    )  # fmt: skip
    test_ll_noise_hz: float = option(
        0.0, "white noise added to the test rates (SD)", unit="Hz", at_least=0, at_most=100_000
    )
    test_using_held_snapshots: bool = option(
        False, "test with held positions, drawn as in training, instead of the sweep"
    )
    held_test_spread: bool = option(
        False, "spread the held test positions over the whole body (otherwise the first ones of "
        "the sweep)",
    )  # fmt: skip
    ll_rate_mode: str = option(
        "raw", "what drives the afferents: the rate, or its change against rest",
        choices=("raw", "modulation"),
    )  # fmt: skip
    ll_rate_baseline_subtract_hz: float = option(
        0.0, "further rate taken off", unit="Hz", flag="ll-baseline-subtract-hz", at_least=0,
        at_most=100_000,
    )  # fmt: skip
    ll_rate_gain: float = option(
        1.0, "factor on the afferents' drive", at_least=0, at_most=1_000_000
    )


@dataclass(frozen=True, kw_only=True)
class CellOptions(Options):
    """Lateral line: cells."""

    vth_mV: float = option(
        -54.0, "spike threshold", unit="mV", flag="vth-mv", at_least=-1000, at_most=1000
    )
    vreset_mV: float = option(
        -60.0, "reset", unit="mV", flag="vreset-mv", at_least=-1000, at_most=1000
    )
    el_mV: float = option(
        -74.0, "leak reversal", unit="mV", flag="el-mv", at_least=-1000, at_most=1000
    )
    tau_ref_ms: float = option(2.0, "refractory period", unit="ms", at_least=0, at_most=10_000)
    tau_m_ms: float = option(
        10.0, "membrane time constant", unit="ms", at_least=0.1, at_most=1_000_000
    )
    tau_s_ms: float = option(
        2.0, "synaptic time constant", unit="ms", at_least=0.1, at_most=1_000_000
    )


@dataclass(frozen=True, kw_only=True)
class LLMonOptions(Options):
    """Lateral line: LL to MON."""

    p_ll_to_mon: float = option(
        0.03, "connection probability where --ll-mon-topo is 0", at_least=0, at_most=1
    )
    ll_to_mon_in_degree: int = option(
        3, "afferents of each MON cell", flag="ll-mon-in-degree", at_least=1, at_most=5000,
        shown_default="10; ll_fast_literal 3",
    )  # fmt: skip
    ll_to_mon_sigma: float = option(
        15.0, "spread of topographic contacts", unit="LL cells", flag="ll-mon-sigma",
        at_least=1e-6, at_most=1_000_000,
    )  # fmt: skip
    ll_to_mon_topography_strength: float = option(
        0.01, "topographic fraction of the contacts", flag="ll-mon-topo", at_least=0, at_most=1,
        shown_default="ll_thesis 0.08; ll_fast 0.5",
    )  # fmt: skip
    topography_sampling: str = option(
        "rounded", "how the fraction becomes a number of contacts: rounded for each cell, or each "
        "contact by itself", choices=("rounded", "bernoulli"),
    )  # fmt: skip
    ll_mon_w_mean_mV: float = option(
        7.0, "fixed weight, lower edge", unit="mV", flag="ll-mon-w-mean-mv", at_least=0,
        at_most=1_000_000,
        shown_default="11.5; ll_fast_literal 7",
    )  # fmt: skip
    ll_mon_w_jitter_mV: float = option(
        3.0, "fixed weight, width of the uniform part above the edge", unit="mV",
        flag="ll-mon-w-jitter-mv", at_least=0, at_most=1_000_000,
    )  # fmt: skip
    ll_mon_use_stdp: bool = option(False, "let LL to MON weights learn", flag="use-ll-mon-stdp")
    ll_mon_apre: float = option(
        0.01, "potentiation, fraction of what is left to the ceiling", at_least=-1000, at_most=1000
    )
    ll_mon_apost: float = option(
        -0.0105, "depression, fraction of the weight", at_least=-1000, at_most=1000
    )
    ll_mon_wmax_mV: float = option(
        20.0, "ceiling of plastic weights", unit="mV", flag="ll-mon-wmax-mv", above=0,
        at_most=1_000_000,
    )  # fmt: skip
    ll_mon_w_init_mV: float = option(
        10.0, "plastic weight at the start, lower edge", unit="mV", flag="ll-mon-w-init-mv",
        at_least=0, at_most=1_000_000,
    )  # fmt: skip
    ll_mon_w_jitter_stdp_mV: float = option(
        2.0, "plastic weight at the start, width of the uniform part above the edge", unit="mV",
        flag="ll-mon-w-jitter-stdp-mv", at_least=0, at_most=1_000_000,
    )  # fmt: skip
    ll_mon_homeo_eta: float = option(0.0, "rate of homeostasis", at_least=0, at_most=1000)
    ll_mon_homeo_every_trials: int = option(
        10, "homeostasis every so many trials", at_least=1, at_most=1_000_000
    )
    keep_ll_mon_stdp_during_test: bool = option(
        False, "let LL to MON weights learn in the test too"
    )


@dataclass(frozen=True, kw_only=True)
class MonTsOptions(Options):
    """Lateral line: MON to TS."""

    mon_to_ts_out_degree: int = option(
        16, "TS targets of each MON cell", flag="mon-ts-out-degree", at_least=1, at_most=5000
    )
    mon_to_ts_sigma: float = option(
        120.0, "spread of topographic contacts", unit="TS cells", flag="mon-ts-sigma",
        at_least=1e-6, at_most=1_000_000,
        shown_default="ll_thesis 10; ll_fast 2.7; ll_fast_literal 120",
    )  # fmt: skip
    mon_to_ts_topography_strength: float = option(
        0.05, "topographic fraction of the contacts", flag="mon-ts-topo", at_least=0, at_most=1,
        shown_default="ll_thesis 0.08; ll_fast 0.5; ll_fast_literal 0.05",
    )  # fmt: skip
    mon_ts_apre: float = option(
        0.02, "potentiation", unit="weight", at_least=-1000, at_most=1000,
        shown_default="0.01; ll_fast_literal 0.02",
    )  # fmt: skip
    mon_ts_apost: float = option(
        -0.021, "depression", unit="weight", at_least=-1000, at_most=1000,
        shown_default="-0.006; ll_fast_literal -0.021",
    )  # fmt: skip
    mon_ts_wmax: float = option(
        0.045, "ceiling", unit="weight", above=0, at_most=1_000_000,
        shown_default="0.028; ll_fast_literal 0.045",
    )  # fmt: skip
    mon_ts_w_init: float = option(
        0.020, "weight at the start, lower edge", at_least=0, at_most=1_000_000
    )
    mon_ts_w_jitter: float = option(
        0.010, "weight at the start, width of the uniform part above the edge", at_least=0,
        at_most=1_000_000, shown_default="0.005; ll_fast_literal 0.01",
    )  # fmt: skip
    mon_ts_homeo_eta: float = option(0.0, "rate of homeostasis", at_least=0, at_most=1000)
    mon_ts_homeo_every_trials: int = option(
        10, "homeostasis every so many trials", at_least=1, at_most=1_000_000
    )
    mon_ts_homeo_target: str = option(
        "current", "mean incoming sum that homeostasis aims at: that of the moment (which leaves "
        "the total free) or that of the start", choices=("current", "initial"),
    )  # fmt: skip
    mon_ts_gain_mV: float = option(
        30.0, "EPSP for a weight of 1", unit="mV", flag="mon-ts-gain-mv", at_least=0,
        at_most=1_000_000,
        shown_default="ll_thesis 72; ll_fast 110; ll_fast_literal 30",
    )  # fmt: skip
    keep_mon_ts_stdp_during_test: bool = option(
        False, "let MON to TS weights learn in the test too"
    )


@dataclass(frozen=True, kw_only=True)
class InhibitionOptions(Options):
    """Lateral line: inhibition and background."""

    mon_to_global_inh_p: float = option(
        0.06, "probability of a MON cell to drive the MON interneuron", flag="mon-global-inh-p",
        at_least=0, at_most=1, shown_default="ll_thesis 0.03; ll_fast 0.12; ll_fast_literal 0.06",
    )  # fmt: skip
    mon_to_global_inh_drive_mV: float = option(
        0.5, "its drive", unit="mV", flag="mon-global-inh-drive-mv", at_least=0,
        at_most=1_000_000,
    )  # fmt: skip
    global_inh_to_mon_mV: float = option(
        1.4, "MON interneuron onto every MON cell", unit="mV", flag="mon-global-inh-mv",
        at_least=0, at_most=1_000_000, shown_default="1.15; ll_fast_literal 1.4",
    )  # fmt: skip
    ts_lateral_radius: int = option(
        14, "radius of lateral inhibition on the ring of TS cells (1 turns it off)",
        unit="TS cells", at_least=1, at_most=5000,
        shown_default="ll_thesis 18; ll_fast 5; ll_fast_literal 14",
    )  # fmt: skip
    ts_local_inh_peak_mV: float = option(
        1.0, "its peak (at distance 0, which no synapse has)", unit="mV",
        flag="ts-local-inh-peak-mv", at_least=0, at_most=1_000_000,
        shown_default="0.9; ll_fast_literal 1",
    )  # fmt: skip
    use_ts_feedback_inh: bool = option(
        False, "feedback inhibition of TS", shown_default="on; ll_fast_literal off"
    )
    ts_to_global_inh_p: float = option(
        0.12, "probability of a TS cell to drive the TS interneuron", flag="ts-feedback-p",
        at_least=0, at_most=1, shown_default="ll_thesis 0.08; ll_fast 0.3; ll_fast_literal 0.12",
    )  # fmt: skip
    ts_to_global_inh_drive_mV: float = option(
        0.35, "its drive", unit="mV", flag="ts-feedback-drive-mv", at_least=0,
        at_most=1_000_000,
        shown_default="0.25; ll_fast_literal 0.35",
    )  # fmt: skip
    global_inh_to_ts_mV: float = option(
        0.8, "TS interneuron onto every TS cell", unit="mV", flag="ts-feedback-inh-mv",
        at_least=0, at_most=1_000_000, shown_default="0.2; ll_fast_literal 0.8",
    )  # fmt: skip
    bg_rate_mon_hz: float = option(
        22.0, "background rate of a MON cell", unit="Hz", at_least=0, at_most=1_000_000
    )
    bg_rate_ts_hz: float = option(
        12.0, "background rate of a TS cell", unit="Hz", at_least=0, at_most=1_000_000,
        shown_default="20; ll_fast_literal 12",
    )  # fmt: skip
    bg_w_mon_mV: float = option(
        1.5, "background weight of a MON cell", unit="mV", flag="bg-w-mon-mv", at_least=0,
        at_most=1_000_000,
    )  # fmt: skip
    bg_w_ts_mV: float = option(
        0.60, "background weight of a TS cell", unit="mV", flag="bg-w-ts-mv", at_least=0,
        at_most=1_000_000,
        shown_default="0.85; ll_fast_literal 0.6",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MapOptions(Options):
    """Lateral line: map quality."""

    eval_x_min_cm: float | None = option(
        None, "start of the window that is evaluated", unit="cm", flag="eval-x-min",
        at_least=-20_000, at_most=20_000, aliases=("eval-x-min-cm",),
    )  # fmt: skip
    eval_x_max_cm: float | None = option(
        None, "end of that window", unit="cm", flag="eval-x-max", at_least=-20_000, at_most=20_000,
        aliases=("eval-x-max-cm",),
    )  # fmt: skip
    pv_window: str = option(
        "cycle", "what the map quality in training is measured on: the last whole sweep to and "
        "fro, or, as published, the last checkpoint interval, which stretches a part of a sweep "
        "over the circle and scores worse", choices=("cycle", "checkpoint"),
        shown_default="cycle; ll_fast_literal checkpoint",
    )  # fmt: skip


PARAM_GROUPS = (
    LayerOptions, StimulusOptions, LLMonOptions, MonTsOptions, InhibitionOptions, CellOptions,
    MapOptions,
)  # fmt: skip
"""The groups that make up the network parameters."""
