"""`lateral-line` on the command line: what it writes, what it refuses, resume and evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from killed import kill_after
from lateral import SMALL, SMALL_FLAGS

from bridge.lateral_line.options import PARAM_GROUPS
from bridge.lateral_line.params import NetworkParams
from bridge.runs.options import by_key, parameters
from cli import main
from scope.figures.lateral_line.figures import FIGURES


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a run with two seeds, figures and a control."""
    runs = tmp_path_factory.mktemp("lateral")
    with pytest.MonkeyPatch.context() as patch:
        # Half of the time would go into pixels.
        patch.setattr("scope.figures.lateral_line.parts.DPI", 40.0)
        code = run_two(runs)
    assert code == 0
    return runs / "two"


def run_two(runs):
    return main(["lateral-line", *SMALL_FLAGS, "--runs-dir", str(runs), "--run-name", "two",
                 "--multi-seed", "2", "--with-control", "--save-tag", "v1.5",
                 "--save-weights-dir", str(runs / "saved")])  # fmt: skip


def read(path):
    return json.loads(path.read_text())


def contents(folder):
    """Return what a run folder holds, but for what each start of a program adds."""
    own = ("config.json", "output.log", ".files")
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name not in own}  # fmt: skip


def arrays(path):
    with np.load(path) as found:
        return dict(found)


def test_what_a_run_leaves(trained):
    names = {p.name for p in (trained / "artifacts").iterdir()}
    for seed in (123, 124):
        assert {f"v1.5_seed_{seed}.npz", f"v1.5_seed_{seed}_params.json",
                f"seed_{seed}_results.json", f"seed_{seed}_checkpoint.npz"} <= names  # fmt: skip
        assert (trained.parent / "saved" / f"v1.5_seed_{seed}.npz").is_file()
    assert {"config.json", "run.sh", "output.log", "params.json", "run_summary.json"} <= {
        p.name for p in trained.iterdir()
    }
    params = read(trained / "params.json")
    assert list(params) == ["mode", "seed_start", "multi_seed", "run_folder", "network_params"]
    assert (params["mode"], params["multi_seed"], params["run_folder"]) == ("ll_fast", 2, "two")
    assert set(params["network_params"]) == set(NetworkParams.__dataclass_fields__)
    assert {k: params["network_params"][k] for k in SMALL} == SMALL
    assert read(trained / "artifacts" / "v1.5_seed_124_params.json")["mode"] == "ll_fast"


def test_the_summary(trained):
    summary = read(trained / "run_summary.json")
    assert [run["seed"] for run in summary["runs"]] == [123, 124]
    for run in summary["runs"]:
        result = read(trained / "artifacts" / f"seed_{run['seed']}_results.json")
        assert run["pv_map_quality"]["sigma_theta_rad"] == result["sigma_theta_rad"]
        assert run["ts_spikes_during_test_window"] == result["n_spikes_test_ts"]
        assert run["control"]["pv_map_quality"] != run["pv_map_quality"]
        assert not result["control"]["plastic"]
        assert result["control"]["w_mean_abs_delta"] == 0
    assert summary["mon_ts_gain_mV"] == 900.0


def test_the_weight_file_holds_the_final_weights(trained):
    found = arrays(trained / "artifacts" / "v1.5_seed_123.npz")
    state = arrays(trained / "artifacts" / "seed_123_checkpoint.npz")
    assert len(found["mon_ts_w"]) == len(found["mon_ts_i"]) == len(found["mon_ts_j"])
    assert np.abs(found["ll_mon_w_mV"] - found["ll_mon_w_init_mV"]).mean() > 0.1
    # The state lacks only the homeostasis that follows the last trial.
    assert np.abs(found["ll_mon_w_mV"] / state["state:ll_mon.w"] - 1).max() < 0.11


def test_every_figure_is_there(trained):
    names = {p.name for p in (trained / "figures").iterdir()}
    for base in FIGURES:
        plain = f"{base}_u_5.0_nMON_60_nTS_20"
        for suffix in ("", "_seed_123", "_seed_124"):
            assert f"{plain}{suffix}.png" in names
        same = [(trained / "figures" / f"{plain}{s}.png").read_bytes() for s in ("", "_seed_123")]
        assert same[0] == same[1]
    assert "brian2_multiseed_summary_n2.png" in names
    assert not any(name.startswith("LL_THESIS") for name in names)


def test_evaluation_of_saved_weights(trained, capsys, monkeypatch):
    monkeypatch.setattr("scope.figures.lateral_line.parts.DPI", 40.0)
    runs = str(trained.parent)
    code = main(["lateral-line", "--evaluate", str(trained), "--runs-dir", runs, "--run-name",
                 "far", "--distance-cm", "1.6", "--test-distances", "0.4", "0.8", "--codegen",
                 "numpy", "--jobs", "1", "--multi-seed", "1"])  # fmt: skip
    assert code == 0, capsys.readouterr().err
    far = trained.parent / "far"
    result = read(far / "artifacts" / "seed_123_results.json")
    before = read(trained / "artifacts" / "seed_123_results.json")
    assert (before["distance_cm"], result["distance_cm"]) == (0.8, 1.6)
    assert result["sigma_theta_ll_rad"] != before["sigma_theta_ll_rad"]
    assert "training" not in capsys.readouterr().out
    assert [d["test_distance_cm"] for d in result["distances"]] == [0.4, 0.8]
    assert (far / "figures" / "distance_generalisation.png").is_file()
    found = arrays(far / "artifacts" / "latest_seed_123.npz")
    whole = arrays(trained / "artifacts" / "v1.5_seed_123.npz")
    assert np.array_equal(found["mon_ts_w"], whole["mon_ts_w"])


def test_one_weight_file_of_several_seeds(trained, tmp_path):
    path = trained / "artifacts" / "v1.5_seed_124.npz"
    flags = ["--evaluate", str(path), "--runs-dir", str(tmp_path), "--run-name", "one"]
    assert main(["lateral-line", *flags, "--no-figures", "--codegen", "numpy"]) == 0
    assert read(tmp_path / "one" / "run_summary.json")["seed"] == 124
    found = arrays(tmp_path / "one" / "artifacts" / "latest_seed_124.npz")
    assert np.array_equal(found["mon_ts_w"], arrays(path)["mon_ts_w"])


def test_a_killed_training_goes_on(trained, tmp_path):
    flags = ["lateral-line", *SMALL_FLAGS, "--no-figures", "--runs-dir", str(tmp_path)]
    flags += ["--run-name", "cut"]
    kill_after("studies.lateral_line.seeds:write_state", 1, flags)
    assert (tmp_path / "cut" / "artifacts" / "seed_123_checkpoint.npz").is_file()
    assert not (tmp_path / "cut" / "run_summary.json").exists()
    folder = tmp_path / "cut"
    script = (folder / "run.sh").read_text()
    assert main(["lateral-line", "--resume-from", str(folder), "--codegen", "numpy", "--jobs",
                 "1"]) == 0  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut"]
    assert (folder / "run.sh").read_text() == script  # the command that began it
    assert not (folder / "figures").exists()
    found = arrays(tmp_path / "cut" / "artifacts" / "latest_seed_123.npz")
    for name, array in arrays(trained / "artifacts" / "v1.5_seed_123.npz").items():
        assert np.array_equal(found[name], array), name


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--mode", "ll_huge"), "ll_thesis, ll_fast, ll_fast_literal"),
        (("--distance-cm", "-1"), "--distance-cm = -1"),
        (("--training-distance-min-cm", "-0.2"), "--training-distance-min-cm = -0.2"),
        (("--mon-ts-out-degree", "5000"), "more than the 300 TS cells"),
        (("--ll-mon-in-degree", "101"), "more than the 100 afferents"),
        (("--eval-x-min", "1"), "give both or neither"),
        (("--eval-x-min-cm", "2", "--eval-x-max-cm", "1"), "must be above"),
        (("--mode", "ll_fast_literal", "--training-distance-max-cm", "1"),
         "add --no-training-fixed-distance"),
        (("--with-control", "--disable-all-stdp"), "the control itself"),
        (("--control-matched", "--disable-all-stdp"), "leave --control-matched out"),
        (("--test-repeats", "0"), "--test-repeats"),
        (("--eval-x-min", "10", "--eval-x-max", "20"), "off the path of the test"),
        (("--mon-ts-w-init", "0.05"), "above the ceiling (--mon-ts-wmax 0.028)"),
        (("--disable-all-stdp", "--keep-mon-ts-stdp-during-test"), "has no effect"),
        (("--restore-initial-ll-mon",), "--evaluate only"),
        (("--resume-from", "nowhere"), "no such file"),
        (("--evaluate", "nowhere.npz"), "no such file"),
        (("--save-tag", "a/b"), "start of a file name"),
        (("--ll-rate-mode", "fm"), "raw, modulation"),
        (("--mon-ts-gane-mv", "3"), "did you mean --mon-ts-gain-mv"),
        (("--multi-seed", "0"), "--multi-seed"),
        (("--batch", "2"), "unrecognized argument '--batch'"),
    ],
)  # fmt: skip
def test_bad_input(flags, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["lateral-line", *flags])
    except SystemExit as end:  # argparse ends by itself
        code = end.code
    err = capsys.readouterr().err
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_state_of_another_network_is_refused(trained, tmp_path, capsys):
    for flags, message in (
        (("--n-mon", "61"), "n_mon 60 there, 61 here"),
        (("--disable-all-stdp",), "differ in --disable-all-stdp"),
        (("--mode", "ll_thesis"), "is of --mode ll_fast"),
        (("--n-training-trials", "3"), "is less"),
    ):
        code = main(["lateral-line", "--resume-from", str(trained), "--runs-dir", str(tmp_path),
                     "--run-name", "other", *flags])  # fmt: skip
        assert code == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_weights_of_another_network_are_refused(trained, tmp_path, capsys):
    weights = trained / "artifacts" / "v1.5_seed_123.npz"
    for flags, message in (
        (("--evaluate", str(weights), "--mon-ts-topo", "0.9"), "holds another network"),
        (("--evaluate", str(weights), "--seed-start", "9"), "holds another network"),
        (("--evaluate", str(trained), "--seed-start", "9"), "no weight file of seed 9"),
    ):
        code = main(["lateral-line", *flags, "--runs-dir", str(tmp_path), "--multi-seed", "1"])
        assert code == 2
        assert message in capsys.readouterr().err
    damaged = tmp_path / "run" / "artifacts" / "x_seed_123.npz"
    damaged.parent.mkdir(parents=True)
    data = bytearray(weights.read_bytes())
    data[len(data) // 3] ^= 0xFF
    damaged.write_bytes(data)
    (tmp_path / "run" / "params.json").write_bytes((trained / "params.json").read_bytes())
    assert main(["lateral-line", "--evaluate", str(damaged), "--runs-dir", str(tmp_path)]) == 2
    assert "damaged" in capsys.readouterr().err


def test_every_parameter_has_a_flag_and_every_flag_a_parameter():
    fields = {p.name for group in PARAM_GROUPS for p in parameters(group)}
    assert fields | {"seed"} == set(NetworkParams.__dataclass_fields__)
    assert len(by_key(PARAM_GROUPS)) == len(fields)


def test_seeds_in_processes_of_their_own(trained, tmp_path, capsys):
    # Both seeds are trained already: each process tests its own.
    flags = ["--resume-from", str(trained), "--runs-dir", str(tmp_path), "--run-name", "again"]
    flags += ["--save-weights-dir", str(tmp_path / "saved"), "--jobs", "2", "--no-figures"]
    assert main(["lateral-line", *flags, "--codegen", "numpy"]) == 0
    for seed in (123, 124):
        found = arrays(tmp_path / "again" / "artifacts" / f"v1.5_seed_{seed}.npz")
        for name, array in arrays(trained / "artifacts" / f"v1.5_seed_{seed}.npz").items():
            assert np.array_equal(found[name], array), name
    summaries = [read(folder / "run_summary.json") for folder in (trained, tmp_path / "again")]
    for one, other in zip(summaries[0]["runs"], summaries[1]["runs"], strict=True):
        assert one["pv_map_quality"] == other["pv_map_quality"]
    assert "2 seeds: sigma_theta" in capsys.readouterr().out


def test_a_resumed_run_keeps_its_finished_seeds(trained, monkeypatch, capsys):
    def never(*_):
        raise AssertionError("a finished seed was run again")

    monkeypatch.setattr("studies.lateral_line.seeds.SeedTask.__call__", never)
    monkeypatch.setattr("scope.figures.lateral_line.parts.DPI", 40.0)
    before = contents(trained)
    assert main(["lateral-line", "--resume-from", str(trained), "--jobs", "1"]) == 0
    assert "2 of 2 seeds are there already" in capsys.readouterr().out
    assert contents(trained) == before
    assert run_two(trained.parent) == 0  # nor by the same command once more
    assert contents(trained) == before
