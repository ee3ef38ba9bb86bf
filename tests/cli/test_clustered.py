"""``clustered`` and ``meanfield`` as typed."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import yaml
from clustered import tiny

from cli import main


@pytest.fixture
def typed(tmp_path, capsys, monkeypatch):
    """Call the command line in a folder of its own; return code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny()))
    return path


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_run_analyze_and_run_again(typed, config, tmp_path):
    code, out, err = typed("clustered", "run", "--config", config, "--save-dir", "runs",
                           "--n-repeats", 2, "--backend", "numpy", "--parallel", "--executor",
                           "thread")  # fmt: skip
    assert code == 0, err
    assert "clusters active" in out
    folder = tmp_path / "runs"
    assert {
        "clusters.npy", "data/spikes_0.npy", "data/spikes_1.npy", "plots/spikes_1.png",
        "plots/cluster_rates.png", "plots/transition_matrix.png", "metadata/seeds.txt",
        "metadata/config.yaml", "metadata/cmd.txt", "metadata/run.log", "analysis/attractors.npy",
        "analysis/transition_matrix.npy", "analysis/analysis_config.json", "config.json", "run.sh",
    } <= files(folder)  # fmt: skip
    spikes = np.load(folder / "data" / "spikes_0.npy")
    assert spikes.dtype == np.bool_
    code, out, err = typed("clustered", "analyze", "--analysis-dir", "runs/analysis", "--verbose",
                           "--export", "states.csv")  # fmt: skip
    assert code == 0, err
    assert "transition matrix:" in out
    assert "total time: 200.0 ms" in out
    with (tmp_path / "states.csv").open() as file:
        rows = list(csv.DictReader(file))
    facts = json.loads((folder / "analysis" / "analysis_config.json").read_text())
    assert len(rows) == facts["n_occurrences"]
    code, out, err = typed("clustered", "analyze", "--spikes", "runs/data", "--save-dir", "again",
                           "--threshold-rule", "stop_before_update")  # fmt: skip
    assert code == 0, err
    other = json.loads((tmp_path / "again" / "analysis" / "analysis_config.json").read_text())
    assert other["threshold_rule"] == "stop_before_update"
    assert other["thresholds_hz"] != facts["thresholds_hz"]


def snapshot(folder):
    """Return all files of a folder, their bytes and times."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.fixture
def other(tmp_path):
    """Return a configuration of stronger arousal."""
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(tiny(arousal={"level": 1.0})))
    return path


RUN = ("clustered", "run", "--backend", "numpy", "--no-plot")


def test_a_run_analyses_what_it_wrote_and_nothing_else(typed, config, other, tmp_path):
    """Recordings of another configuration, of more repeats or of another format stay out."""
    code, _, err = typed(*RUN, "--config", config, "--save-dir", "a", "--n-repeats", 3)
    assert code == 0, err
    before = snapshot(tmp_path / "a")
    code, _, err = typed(*RUN, "--config", other, "--save-dir", "alone", "--n-repeats", 1)
    assert code == 0, err
    for words in (
        ("--config", other, "--n-repeats", 1),
        ("--config", config, "--n-repeats", 1),
        ("--config", config, "--n-repeats", 3, "--spike-format", "events"),
    ):
        code, _, err = typed(*RUN, *words, "--save-dir", "a")
        assert code == 2
        assert "data/spikes_0.npy" in err
        assert "another save_dir (--save-dir), or clear this one (--wipe-dir)" in err
        assert err.count("\n") == 1
        assert snapshot(tmp_path / "a") == before, words
    words = ("--config", other, "--n-repeats", 1, "--save-dir", "a", "--wipe-dir")
    code, _, err = typed(*RUN, *words)
    assert code == 0, err
    for name in ("analysis/analysis_config.json", "analysis/summary.json"):
        wiped, alone = (json.loads((tmp_path / k / name).read_text()) for k in ("a", "alone"))
        for facts in (wiped, alone):
            facts.pop("spikes_path", None)
            facts.pop("clusters_path", None)
        assert wiped == alone
    # A file that is nobody's: the run says whose names it would take, and touches nothing.
    (tmp_path / "mine" / "data").mkdir(parents=True)
    np.save(tmp_path / "mine" / "data" / "spikes_7.npy", np.ones((200, 200), dtype=bool))
    code, _, err = typed(*RUN, "--config", config, "--save-dir", "mine", "--n-repeats", 1)
    assert code == 2
    assert "spikes_7.npy" in err
    assert files(tmp_path / "mine") == {"data/spikes_7.npy"}


def test_commands_do_not_share_a_folder(typed, config, tmp_path):
    """Nor do settings; without --save-dir each has a folder of its own."""
    sweep = ("clustered", "sweep", "--config", config, "--backend", "numpy", "--values")
    code, _, err = typed(*sweep, "0.1")
    assert code == 0, err
    before = snapshot(tmp_path / "simulations" / "sweep")
    code, _, err = typed("clustered", "compare", "--config", config, "--backend", "numpy",
                         "--values", "0.1", "--save-dir", "simulations/sweep")  # fmt: skip
    assert code == 2
    assert "another --save-dir" in err
    assert "--wipe-dir" in err
    code, _, err = typed(*sweep, "0.6")
    assert code == 0, err
    assert snapshot(tmp_path / "simulations" / "sweep") == before
    rows = json.loads((tmp_path / "simulations" / "sweep-2" / "data" / "sweep.json").read_text())
    assert [row["value"] for row in rows] == [0.6]
    code, _, err = typed(*sweep, "0.1")  # the same once more: where it was
    assert code == 0, err
    code, _, err = typed(*sweep, "0.6", "--wipe-dir")
    assert code == 0, err
    names = {path.name for path in (tmp_path / "simulations").iterdir()}
    assert names == {"sweep", "sweep-2"}


def test_a_refused_resume_changes_nothing(typed, config, other, tmp_path, monkeypatch):
    from studies.clustered import StageSNNSimulation

    real = StageSNNSimulation.run_events

    def fragile(self, **given):
        if self.random_seed == 1436224186:  # of the second repeat
            raise RuntimeError("the node died")
        return real(self, **given)

    words = ("--save-dir", "a", "--n-repeats", 2, "--duration-sec", "0.1")
    with monkeypatch.context() as patch:
        patch.setattr(StageSNNSimulation, "run_events", fragile)
        code, _, err = typed(*RUN, "--config", config, *words)
    assert code == 1
    assert "1 of 2 repeats failed" in err
    assert "repeat 1 (seed 1436224186): RuntimeError: the node died" in err
    before = snapshot(tmp_path / "a")
    code, _, err = typed(*RUN, "--config", other, *words)
    assert code == 2
    assert "--wipe-dir" in err
    assert snapshot(tmp_path / "a") == before
    code, out, err = typed(*RUN, "--config", config, *words)
    assert code == 0, err
    assert "resuming: 1 of 2 repeats" in out
    kept = tmp_path / "a" / "data" / "spikes_0.npy"
    assert kept.stat().st_mtime_ns == before[kept][1]


def test_an_analysis_that_is_stopped_loses_no_repeat(typed, config, tmp_path, monkeypatch):
    words = (*RUN, "--config", config, "--save-dir", "a", "--n-repeats", 2)

    def stop(*given, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("studies.clustered.commands._analyse", stop)
        assert typed(*words)[0] == 130
    before = snapshot(tmp_path / "a" / "data")
    assert len(before) == 2
    code, out, err = typed(*words)
    assert code == 0, err
    assert "resuming: 2 of 2 repeats are there already" in out
    assert snapshot(tmp_path / "a" / "data") == before
    assert (tmp_path / "a" / "analysis" / "summary.json").is_file()


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_killed_command_goes_on_or_may_be_wiped(typed, config, tmp_path, monkeypatch, command):
    """Files of a run that could not say what it wrote are its own all the same."""
    from bridge.runs import folder as module

    words = {
        "run": (*RUN, "--config", config, "--save-dir", "a", "--n-repeats", 2),
        "sweep": ("clustered", "sweep", "--config", config, "--backend", "numpy", "--values", "0.1",
                  "0.6", "--save-dir", "a"),
    }[command]  # fmt: skip
    calls = []

    def dies(*given):
        calls.append(given)
        if len(calls) == 2:
            raise SystemExit(137)
        return real(*given)

    name = {"run": "studies.clustered.repeater._repeat",
            "sweep": "studies.clustered.runs.measure_item"}[command]  # fmt: skip
    real = __import__("pydoc").locate(name)
    with monkeypatch.context() as patch:
        patch.setattr(name, dies)
        patch.setattr(module.RunFolder, "__exit__", lambda *given: None)  # as kill -9 does
        assert typed(*words)[0] == 137
    (tmp_path / "a" / ".running").unlink(missing_ok=True)
    code, out, err = typed(*words)
    assert code == 0, err
    assert "resuming: 1 of 2" in out
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(name, dies)
        patch.setattr(module.RunFolder, "__exit__", lambda *given: None)
        assert typed(*words, "--wipe-dir")[0] == 137
    (tmp_path / "a" / ".running").unlink(missing_ok=True)
    code, out, err = typed(*words, "--wipe-dir")
    assert code == 0, err
    assert "resuming" not in out


def test_perturb_saves_what_it_applied(typed, tmp_path):
    block = {"vectors": [[1, -1]], "involved_clusters": [[0, 1]], "params": [3.0],
             "time_dependence": {"shape": "hat", "onset_time": 0.01}}  # fmt: skip
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(tiny(perturbation={"rate": block})))
    code, out, err = typed("clustered", "perturb", "--config", path, "--save-dir", "p",
                           "--backend", "numpy", "--spike-format", "events",
                           "--no-plot")  # fmt: skip
    assert code == 0, err
    assert "perturbation of rate: shape (8, 200)" in out
    log = (tmp_path / "p" / "metadata" / "run.log").read_text()
    assert log.count("perturbation of rate: shape (8, 200), mean 0, min -3, max 3") == 1
    with np.load(tmp_path / "p" / "metadata" / "perturbations.npz") as saved:
        assert saved["rate"][0, [19, 20, 199]].tolist() == [0.0, 3.0, 3.0]
        assert saved["rate"][1, 20] == -3.0
    assert (tmp_path / "p" / "data" / "spikes_0.npz").is_file()
    plain = tmp_path / "plain.yaml"
    plain.write_text(yaml.safe_dump(tiny()))
    code, _, err = typed("clustered", "perturb", "--config", plain, "--save-dir", "q")
    assert code == 2
    assert "no perturbation section" in err


def test_sweep_and_compare_write_a_table_and_a_figure(typed, config, tmp_path):
    given = ("--config", config, "--backend", "numpy", "--values", "0.1", "0.6", "--n-repeats", 1)
    code, out, err = typed("clustered", "sweep", *given, "--save-dir", "s")
    assert code == 0, err
    assert "arousal.level = 0.6" in out
    rows = json.loads((tmp_path / "s" / "data" / "sweep.json").read_text())
    assert [row["value"] for row in rows] == [0.1, 0.6]
    assert rows[1]["e_bg_hz"] > rows[0]["e_bg_hz"]
    assert {
        "configs/0.yaml", "configs/1.yaml", "metadata/seeds.txt", "metadata/sweep.log"
    } <= files(tmp_path / "s")  # fmt: skip
    assert (tmp_path / "s" / "plots" / "sweep.png").stat().st_size > 10_000
    code, out, err = typed("clustered", "compare", *given, "--save-dir", "c", "--parallel",
                           "--executor", "thread", "--max-workers", 2)  # fmt: skip
    assert code == 0, err
    compared = json.loads((tmp_path / "c" / "data" / "compare.json").read_text())
    assert compared[0]["e_sim_hz"] == rows[0]["e_hz"], "the same seed is the same run"
    assert compared[0]["e_mf_hz"] > 0
    assert "%" in out
    assert (tmp_path / "c" / "plots" / "compare.png").stat().st_size > 10_000


def test_a_sweep_takes_the_seeds_of_the_trials_of_a_runner(typed, config, tmp_path):
    """And notes the perturbations of each value, as a runner does."""
    from studies.clustered import SNNBaseSweepRunner
    from studies.clustered.compare import measure_network

    class Measured(SNNBaseSweepRunner):
        def _step(self, param, idx, sweep_param, **kwargs):
            stager = self._sweep_object
            row = measure_network(stager.config.tree, stager.random_seed, duration_s=None,
                                  backend="numpy", arousal_noise="per_step",
                                  analysis={})  # fmt: skip
            return [row["e_hz"], row["i_hz"]]

        def summarize_repeated_run(self, results, directory):
            self.found = np.mean(results, axis=0)

    block = {"vectors": [[1, -1]], "involved_clusters": [[0, 1]], "params": [3.0]}
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(tiny(perturbation={"rate": block})))
    runner = Measured()
    runner.repeat(tmp_path / "python", 2, path, ["perturbation", "rate", "params"], [1.0, 2.0], 0)
    code, _, err = typed("clustered", "sweep", "--config", path, "--backend", "numpy", "--param",
                         "perturbation.rate.params", "--param-idx", 0, "--values", 1, 2,
                         "--n-repeats", 2, "--save-dir", "s")  # fmt: skip
    assert code == 0, err
    rows = json.loads((tmp_path / "s" / "data" / "sweep.json").read_text())
    found = [[row["e_hz"], row["i_hz"]] for row in rows]
    np.testing.assert_allclose(found, runner.found, rtol=1e-14)  # a mean of two
    for k, size in enumerate([1.0, 2.0]):
        with np.load(tmp_path / "s" / "metadata" / f"perturbations_{k}.npz") as saved:
            assert saved["rate"][0] == size
    log = (tmp_path / "s" / "metadata" / "sweep.log").read_text()
    assert "perturbation of rate: shape (8,)" in log
    assert "value 2 (seed 1436224186) done" in log


def test_mean_field_commands(typed, tmp_path):
    code, out, err = typed("meanfield", "solve", "--n-runs", 40, "--save-dir", "s",
                           "--active-clusters", 0, 1)  # fmt: skip
    assert code == 0, err
    assert "40 of 40 starts converged to 3 fixed points" in out
    assert "1 active: stable focus   51.092 / 2.534 Hz" in out
    code, out, err = typed("meanfield", "landscape", "--grid-density", 2, "--save-dir", "l")
    assert code == 0, err
    assert "900 of 900 grid points converged" in out
    # of the path of the reference landscape
    assert "potential along the path: -0.7885 to 43.45" in out
    assert (tmp_path / "l" / "plots" / "landscape.png").stat().st_size > 10_000
    code, out, err = typed("meanfield", "bifurcation", "--from", 17.5, "--to", 19, "--n-values", 4,
                           "--n-runs", 10, "--save-dir", "b")  # fmt: skip
    assert code == 0, err
    found = json.loads((tmp_path / "b" / "data" / "critical.json").read_text())
    assert found["critical"] == [pytest.approx(18.20205, abs=1e-4)]
    with (tmp_path / "b" / "data" / "fixed_points.csv").open() as file:
        values = [float(row["value"]) for row in csv.DictReader(file)]
    assert [values.count(v) for v in (17.5, 18.0, 18.5, 19.0)] == [1, 1, 3, 3]
    assert (tmp_path / "b" / "plots" / "bifurcation.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clustered", "run", "--config", "none.yaml"), "no such file"),
        (("clustered", "run", "--executor", "process"), "--executor can't apply without"),
        (("clustered", "run", "--parallel", "--scheduler", "tcp://x:1"), "needs --executor dask"),
        (("clustered", "run", "--seeds-file", "none"), "no such file of seeds"),
        (("clustered", "run", "--duration-sec", "0.0001"), "shorter than one delta_t"),
        (("clustered", "sweep", "--duration-sec", "0.0001"), "shorter than one delta_t"),
        (("clustered", "run", "--n-repeat", "3"), "did you mean --n-repeats"),
        (("clustered", "walk"), "invalid choice"),
        (("clustered",), "required"),
        (("clustered", "analyze"), "--analysis-dir"),
        (("clustered", "analyze", "--analysis-dir", "nowhere"), "no such folder"),
        (("clustered", "analyze", "--analysis-dir", "x", "--kernel", "box"), "--kernel can't"),
        (("clustered", "sweep", "--param", "arousal.levle"), "no entry arousal.levle"),
        (("clustered", "sweep", "--values", "0.1", "7"), "level"),
        (("clustered", "compare", "--param", "external_currents.nu_ext_baseline"), "param_idx"),
        (("meanfield", "landscape", "--focus-pops", "0", "9"), "populations are 0 to 5"),
        (("meanfield", "landscape", "--grid-lims", "1", "2", "3"), "--grid-lims has 3 values"),
        (("meanfield", "landscape", "--grid-density", "0"), "grid-density"),
        (("meanfield", "solve", "--active-clusters", "5"), "there are 2 clusters"),
        (("meanfield", "bifurcation", "--from", "9", "--to", "3"), "must be below"),
        (("meanfield", "bifurcation", "--param", "arousal.level"), "needs --from and --to"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(typed, tmp_path, words, said):
    code, _, err = typed(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "simulations").exists()
