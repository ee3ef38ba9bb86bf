"""``crosscheck``: two backends, one verdict, one exit code."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import SMALL, same
from legible import check_legible

from bridge.recording import Recording

NET = SMALL[:-2]  # the target is said anew


def report(outcome):
    return json.loads((outcome.folder / "crosscheck.json").read_text())


def test_several_steps_of_drawn_weights(call):
    outcome = call("crosscheck", *NET, "--dt", "0.25", "0.5", "--codegen", "numpy", "--trials",
                   "2", record=False)  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = report(outcome)
    assert found["identical"]
    assert [c["dt_ms"] for c in found["checks"]] == [0.25, 0.5]
    for check in found["checks"]:
        assert check["names"][0] == "brian:numpy"
        assert check["names"][1].startswith("torch:")
        assert check["n_trials"] == 2
        assert set(check["populations"]) == {"e1", "i1"}
        assert all(p["n_spikes"][0] > 50 for p in check["populations"].values())
        assert check["f_gamma_hz"][0] == check["f_gamma_hz"][1] > 10
        assert check["logits_difference"] < 1e-12
        assert check["n_equal_predictions"] == 2
    lines = [line for line in outcome.out.splitlines() if line.startswith("dt ")]
    assert len(lines) == 4  # two populations, twice
    assert all("identical" in line for line in lines)
    assert "every spike is the same" in outcome.out
    assert outcome.config["mode"] == "crosscheck"
    assert outcome.config["dt"] == [0.25, 0.5]
    names = sorted(p.name for p in outcome.folder.iterdir())
    assert names == ["config.json", "crosscheck.json", "crosscheck.png", "output.log", "run.sh"]


def test_several_targets(call):
    # The compiled ones: tests/train_torch/test_same_spikes.py.
    outcome = call("crosscheck", *NET, "--codegen", "numpy", "auto", "--record-traces",
                   "--device", "cpu", record=False)  # fmt: skip
    assert outcome.code == 0, outcome.err
    checks = report(outcome)["checks"]
    assert len(checks) == 2
    assert checks[0]["names"][0] == "brian:numpy"
    assert outcome.config["codegen"] == ["numpy", "auto"]
    for check in checks:
        assert check["v_difference"].keys() == {"v_e_1", "v_i_1"}
        # exp() of two libraries differs in the last bit; the membrane forgets it.
        assert max(check["v_difference"].values()) < 1e-10
    assert "v_e_1: largest difference" in outcome.out


def test_event_times_are_binned_anew_and_others_drawn(call):
    words = ("--n-hidden", "16", "--digit", "2", "--t-ms", "250", "--codegen", "numpy", "--dt",
             "0.25", "0.5", "--w-in", "2")  # fmt: skip
    window = call("crosscheck", *words, "--stim-overdrive", "4", name="window", record=False)
    assert window.code == 0, window.err
    shown = call("sim", *words[:-5], "--dt", "0.5", "--w-in", "2", "--stim-overdrive", "4",
                 name="sim")  # fmt: skip
    check = report(window)["checks"][1]
    assert check["populations"]["e1"]["n_spikes"][0] == len(shown.recording.spikes["e1"])


def test_a_difference_ends_with_one_line_and_exit_code_1(call, monkeypatch):
    from train_torch.network import simulate as mirror

    plain = mirror.simulate

    def other(spec, weights, stimulus, **given):
        return plain(spec, weights.scaled("W_ie_1", 1.3), stimulus, **given)

    monkeypatch.setattr(mirror, "simulate", other)
    outcome = call("crosscheck", *NET, "--codegen", "numpy", record=False)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert (
        "error: the backends differ, and rounding at threshold does not explain it" in outcome.err
    )
    assert "dt 0.5 ms, brian:numpy and torch:" in outcome.err
    found = report(outcome)
    assert not found["passed"]
    first = found["checks"][0]["first"][0]
    assert not first["tie"]
    assert first["population"] in ("e1", "i1")
    assert max(map(abs, first["above_threshold"])) > 1e-6
    assert "not explained by rounding" in outcome.out
    assert not (outcome.folder / ".running").exists()
    both = call("sim", *NET, "--codegen", "numpy", "--backend", "both", name="both")
    assert both.code == 0
    assert "warning: the two backends differ" in both.out
    assert not report(both)["passed"]


def test_rounding_is_told_apart_from_a_difference(call, monkeypatch):
    from bridge import crosscheck

    monkeypatch.setattr(crosscheck, "TIE", {"float64": 1e3, "float32": 1e3})
    from train_torch.network import simulate as mirror

    plain = mirror.simulate
    monkeypatch.setattr(mirror, "simulate", lambda spec, weights, stimulus, **given: plain(
        spec, weights.scaled("W_ie_1", 1.3), stimulus, **given))  # fmt: skip
    outcome = call("crosscheck", *NET, "--codegen", "numpy", "--window", "3", record=False)
    assert outcome.code == 0, outcome.err
    assert "every first difference is explained by rounding at threshold" in outcome.out
    check = report(outcome)["checks"][0]
    assert (check["identical"], check["passed"]) == (False, True)
    assert check["window_ms"] == 3.0
    assert check["populations"]["e1"]["coincidence"] < 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--backend", "torch"), "--backend torch can't apply to crosscheck, which runs both"),
        (("--save-recording", "x.npz"), "--save-recording can't apply to crosscheck"),
        (("--raster", "imshow"), "--raster can't apply to crosscheck"),
        (("--dt", "0.5", "0.5"), "--dt names a time step twice"),
        (("--dt", "0.5", "0.3"), "does not divide the trial"),
        (("--codegen", "fortran"), "one of auto, numpy, cython, cpp, cuda"),
        (("--window", "-1"), "--window = -1 ms must be >= 0"),
        (("--device", "mps", "--dtype", "float64"), "mps has no float64"),
        (("--modal",), "not available in this version"),
    ],
)
def test_what_it_refuses(call, flags, message):
    outcome = call("crosscheck", "--n-hidden", "16", *flags, record=False)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not outcome.folder.exists()


def test_it_inherits_and_hands_on(call):
    first = call("sim", *SMALL, "--tau-gaba", "6", "--readout", "mem-mean", name="first")
    outcome = call("crosscheck", "--from-dir", first.folder, "--codegen", "numpy",
                   "--out-dir", first.folder / "crosscheck", record=False)  # fmt: skip
    assert outcome.code == 0, outcome.err
    config = json.loads((first.folder / "crosscheck" / "config.json").read_text())
    assert (config["dt"], config["tau_gaba"], config["readout"]) == (0.5, 6.0, "mem-mean")
    found = json.loads((first.folder / "crosscheck" / "crosscheck.json").read_text())
    n_spikes = found["checks"][0]["populations"]["e1"]["n_spikes"]
    assert n_spikes[0] == len(first.recording.spikes["e1"])
    again = call("sim", "--from-dir", first.folder / "crosscheck", "--codegen", "numpy",
                 name="again")  # fmt: skip
    assert again.code == 0, again.err
    assert same(first.recording, again.recording)


def test_the_default_folder(call, tmp_path):
    from cli import main

    assert main(["crosscheck", *NET, "--codegen", "numpy", "--t-ms", "120"]) == 0
    assert (tmp_path / "artifacts" / "latest" / "crosscheck.png").is_file()


# ---- the figure ---------------------------------------------------------------------------------


def compared(*, moved):
    from bridge.crosscheck import compare
    from bridge.network.spec import PingSpec, ei_layer
    from scope.figures.crosscheck import Compared

    rng = np.random.default_rng(1)
    n_steps, cells = 600, {"e1": 32, "i1": 8}
    rows = {}
    for name, n in cells.items():
        raster = rng.random((2, n_steps, n)) < 0.01
        trial, step, cell = np.nonzero(raster)
        rows[name] = np.stack([step, trial, cell], axis=1).astype(np.int32)
    other = {name: r.copy() for name, r in rows.items()}
    if moved:
        late = (other["e1"][:, 0] > 300) & (other["e1"][:, 1] == 1)
        other["e1"][late, 0] = np.minimum(other["e1"][late, 0] + 1, n_steps - 1)
        other["e1"] = np.unique(other["e1"], axis=0)
    one, two = (
        Recording(dt_ms=0.5, n_steps=n_steps, n_trials=2, n_cells=cells, spikes=s, backend=name)
        for s, name in ((rows, "brian:numpy"), (other, "torch:cpu:float64"))
    )
    spec = PingSpec(n_in=3, layers=(ei_layer(32),))
    return Compared(check=compare(spec, one, two, window_ms=1.0), one=one, other=two,
                    burn_in_ms=20.0)  # fmt: skip


@pytest.mark.parametrize("moved", [False, True])
def test_the_figure_shows_what_differs(moved):
    from scope.figures.crosscheck import draw_crosscheck

    c = compared(moved=moved)
    figure = draw_crosscheck([compared(moved=False), c])
    check_legible(figure)
    axes = figure.axes
    alone = [
        next(a for a in axes[0].collections if a.get_gid() == f"only_{k}").get_offsets()
        for k in (0, 1)
    ]
    assert [len(a) for a in alone] == list(c.check.populations["e1"].n_alone)
    texts = [t.get_text() for t in axes[-1].texts]
    assert len(texts) == 3
    assert "identical" in texts[1]
    if moved:
        assert "trial 1: DIFFERENT" in figure.texts[0].get_text()
        assert "DIFFERENT" in texts[2]
        line = next(a for a in axes[-2].lines if a.get_gid() == "share")
        t_ms, share = line.get_data()
        assert (share[t_ms < 145] == 1).all()
        assert (share[t_ms > 155] < 0.8).all()
    else:
        assert "trial 0: identical" in figure.texts[0].get_text()


def test_a_network_without_inhibition_and_many_comparisons():
    from bridge.crosscheck import compare
    from bridge.network.spec import CubaSpec
    from scope.figures.crosscheck import MOST_ROWS, Compared, draw_crosscheck

    silent = Recording(dt_ms=0.5, n_steps=100, n_trials=1, n_cells={"e1": 4},
                       spikes={"e1": np.empty((0, 3), dtype=np.int32)}, backend="a")  # fmt: skip
    spec = CubaSpec(n_in=2, n_exc=4, n_inh=0)
    check = compare(spec, silent, silent, window_ms=1.0)
    one = Compared(check=check, one=silent, other=silent, burn_in_ms=0.0)
    assert one.to_json()["f_gamma_hz"] == [None, None]
    figure = draw_crosscheck([one] * (MOST_ROWS + 2))
    check_legible(figure)
    assert "and 2 more in crosscheck.json" in figure.axes[-1].texts[-1].get_text()
