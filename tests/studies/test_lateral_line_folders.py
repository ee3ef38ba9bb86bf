"""Who may write into a run folder, what a second command finds there, which files are the run's."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from lateral import SMALL_FLAGS

from bridge.files.npz import read_npz, write_npz
from bridge.lateral_line.earlier import read_earlier
from bridge.lateral_line.params import preset
from bridge.lateral_line.plan import Plan
from bridge.lateral_line.run_options import LateralLineOptions
from bridge.runs.ownership import RECORDS
from cli import main
from sim_brian.lateral_line.train import run_network
from studies.lateral_line.owner import CONTROL_TRIALS, Owner
from studies.lateral_line.workflow import _copy

BEGIN = ("--n-training-trials", "2", "--no-figures", "--codegen", "numpy", "--jobs", "1")
GO_ON = ("--codegen", "numpy", "--jobs", "1")


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Return the folder of a run with a control and a tag of its own."""
    runs = tmp_path_factory.mktemp("runs")
    assert lateral(runs, "a", *SMALL_FLAGS, *BEGIN, "--with-control", "--save-tag", "A") == 0
    return runs / "a"


@pytest.fixture
def trained(begun, tmp_path):
    """Return a copy of that folder."""
    return shutil.copytree(begun, tmp_path / "a")


def lateral(runs, name, *flags):
    return main(["lateral-line", "--runs-dir", str(runs), "--run-name", name, *map(str, flags)])


def read(path):
    return json.loads(path.read_text())


def results(folder, seed=123):
    return read(folder / "artifacts" / f"seed_{seed}_results.json")


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files(folder) - RECORDS}


def owner_of(folder):
    return Owner.of(read_earlier(folder))


def test_a_run_leaves_the_files_that_its_owner_names(tmp_path, monkeypatch):
    monkeypatch.setattr("scope.figures.lateral_line.parts.DPI", 20.0)
    more = ("--figures", "--multi-seed", "2", "--test-distances", "0.4")
    more += ("--save-weights-dir", tmp_path / "w")
    assert lateral(tmp_path, "a", *SMALL_FLAGS, *BEGIN, *more) == 0
    folder = tmp_path / "a"
    owner = owner_of(folder)
    named = [str(path.relative_to(folder)) for path in owner.files()]
    assert len(named) == len(set(named)) == 2 + 2 * (4 + 14) + 14 + 2
    assert files(folder) - RECORDS == set(named)
    assert {p.name for p in (tmp_path / "w").iterdir()} == {
        target.name for seed in (123, 124) for _, target in owner.copies_of_weights(seed)
    }


def test_the_configuration_on_disk_is_the_parameters(trained):
    config, params = read(trained / "config.json"), read(trained / "params.json")
    keys = {"ts_feedback_p": "ts_to_global_inh_p", "mon_ts_topo": "mon_to_ts_topography_strength"}
    for key, name in keys.items():
        assert config[key] == params["network_params"][name]
    shared = config.keys() & params["network_params"].keys()
    assert {"n_mon", "n_ts", "n_training_trials", "distance_cm", "trial_duration_s"} < shared
    for name in shared:
        assert config[name] == params["network_params"][name], name
    assert (config["preset"], config["seed_start"]) == (params["mode"], params["seed_start"])


def test_a_run_resumed_in_place_keeps_what_it_holds(trained):
    before, script = contents(trained), (trained / "run.sh").read_text()
    assert main(["lateral-line", "--resume-from", str(trained), *GO_ON]) == 0
    assert contents(trained) == before
    # A run of an earlier version does not say what decided its numbers: the seed is tested again.
    path = trained / "artifacts" / "seed_123_results.json"
    path.write_text(json.dumps({k: v for k, v in read(path).items() if k != "result_key"}))
    assert main(["lateral-line", "--resume-from", str(trained), *GO_ON]) == 0
    after = contents(trained)
    assert after.keys() == before.keys()
    assert results(trained)["control"]["sigma_theta_rad"] > 0
    for name in before.keys() - {"artifacts/seed_123_results.json"}:  # holds seconds
        assert after[name] == before[name], name
    assert (trained / "run.sh").read_text() == script


def test_a_training_is_prolonged_with_all_that_it_had(trained):
    assert main(["lateral-line", "--resume-from", str(trained), "--n-training-trials", "4",
                 *GO_ON]) == 0  # fmt: skip
    row = results(trained)
    assert (row["n_training_trials"], row["n_trials_run"]) == (4, 4)
    assert row["control"]["n_training_trials"] == 4
    assert not (trained / "artifacts" / "latest_seed_123.npz").exists()
    whole = trained.parent / "whole"
    assert lateral(trained.parent, "whole", *SMALL_FLAGS, "--no-figures", "--save-tag", "A") == 0
    one, other = (read_npz(f / "artifacts" / "A_seed_123.npz") for f in (trained, whole))
    for name, array in one.items():
        assert np.array_equal(array, other[name]), name
    assert read(trained / "config.json")["n_training_trials"] == 4
    assert lateral(trained.parent, "t", "--evaluate", trained, "--no-figures", *GO_ON) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--no-with-control",), "control there, not here"),
        (("--save-tag", "B"), "save_tag A there, B here"),
        (("--distance-cm", "1.6"), "distance_cm 0.8 there, 1.6 here"),
        (("--seed-start", "124"), "seeds there, not here"),
        (("--n-training-trials", "1"), "is less"),
        (("--fast-math", "--codegen", "cpp"), "fast_math False there, True here"),
    ],
)
def test_a_resumed_run_that_would_hold_less_is_refused(trained, capsys, flags, message):
    before = contents(trained)
    assert main(["lateral-line", "--resume-from", str(trained), *GO_ON, *flags]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert contents(trained) == before


def test_a_resumed_run_may_grow(trained):
    assert main(["lateral-line", "--resume-from", str(trained), "--multi-seed", "2",
                 "--test-distances", "0.4", *GO_ON]) == 0  # fmt: skip
    assert [run["seed"] for run in read(trained / "run_summary.json")["runs"]] == [123, 124]
    for seed in (123, 124):
        row = results(trained, seed)
        assert (len(row["distances"]), "control" in row) == (1, True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--evaluate", "{folder}"), "a training there, a test of weights here"),
        (("--evaluate", "{folder}/artifacts/A_seed_123.npz"), "a training there, a test of"),
        ((*SMALL_FLAGS, *BEGIN, "--speed-cm-s", "10"), "speed_cm_s 5.0 there, 10.0 here"),
        ((*SMALL_FLAGS, "--no-figures", "--with-control", "--save-tag", "A"),
         "n_training_trials 2 there, 4 here"),
        ((*SMALL_FLAGS, *BEGIN), "control there, not here"),
    ],
)  # fmt: skip
def test_another_command_does_not_enter(trained, capsys, flags, message):
    before = contents(trained)
    flags = [flag.format(folder=trained) for flag in flags]
    assert lateral(trained.parent, "a", *flags) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "--run-name" in err
    assert "--out-dir" not in err
    assert err.count("\n") == 1
    assert contents(trained) == before


def test_the_folder_of_another_kind_of_run_is_left_alone(tmp_path, capsys):
    assert main(["sim", "--t-ms", "250", "--n-hidden", "16", "--codegen", "numpy", "--out-dir",
                 str(tmp_path / "s")]) == 0  # fmt: skip
    capsys.readouterr()
    assert lateral(tmp_path, "s", *SMALL_FLAGS, *BEGIN) == 2
    assert "holds a run of sim, not of lateral-line" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_of_runs(tmp_path, capsys):
    (tmp_path / "runs").write_text("")
    assert lateral(tmp_path / "runs", "a", *SMALL_FLAGS, *BEGIN) == 2
    err = capsys.readouterr().err
    assert "--runs-dir" in err
    assert err.count("\n") == 1


def test_a_test_of_weights_is_repeated_in_its_own_folder(trained, capsys):
    runs = trained.parent
    flags = ("--evaluate", trained, "--no-figures", *GO_ON)
    assert lateral(runs, "t", *flags) == 0
    first = results(runs / "t")
    assert not first["trained"]
    assert lateral(runs, "t", *flags) == 0
    assert results(runs / "t")["sigma_theta_rad"] == first["sigma_theta_rad"]
    assert lateral(runs, "t", *flags, "--distance-cm", "1.6") == 2
    assert "distance_cm 0.8 there, 1.6 here" in capsys.readouterr().err


def test_weights_without_plasticity_stay_known_as_such(tmp_path):
    assert lateral(tmp_path, "c", *SMALL_FLAGS, *BEGIN, "--disable-all-stdp") == 0
    params = read(tmp_path / "c" / "params.json")["network_params"]
    sidecar = read(tmp_path / "c" / "artifacts" / "latest_seed_123_params.json")
    increments = ("mon_ts_apre", "mon_ts_apost", "ll_mon_apre", "ll_mon_apost",
                  "mon_ts_homeo_eta", "ll_mon_homeo_eta")  # fmt: skip
    for name in increments:
        assert params[name] == sidecar["network_params"][name] == 0
    assert (sidecar["plastic"], sidecar["mon_ts_apre"]) == (False, 0)
    assert not results(tmp_path / "c")["plastic"]
    assert lateral(tmp_path, "t", "--evaluate", tmp_path / "c", "--no-figures", *GO_ON) == 0
    assert not results(tmp_path / "t")["plastic"]
    assert read(tmp_path / "t" / "config.json")["disable_all_stdp"]
    assert main(["lateral-line", "--resume-from", str(tmp_path / "c"), "--n-training-trials", "3",
                 *GO_ON]) == 0  # fmt: skip
    assert results(tmp_path / "c")["w_mean_abs_delta"] == 0


def test_a_copy_of_a_weight_file_can_be_tested_by_itself(trained, tmp_path, capsys):
    copies = tmp_path / "w"
    copies.mkdir()
    for name in ("A_seed_123.npz", "A_seed_123_params.json"):
        shutil.copy(trained / "artifacts" / name, copies)
    shutil.rmtree(trained)
    assert lateral(tmp_path, "t", "--evaluate", copies / "A_seed_123.npz", "--no-figures",
                   *GO_ON) == 0  # fmt: skip
    assert results(tmp_path / "t")["n_training_trials"] == 2
    (copies / "A_seed_123_params.json").unlink()
    capsys.readouterr()
    assert lateral(tmp_path, "u", "--evaluate", copies / "A_seed_123.npz") == 2
    assert "A_seed_123_params.json" in capsys.readouterr().err


def test_a_weight_file_of_the_published_program(trained, tmp_path, capsys):
    folder = tmp_path / "published"
    (folder / "artifacts").mkdir(parents=True)
    shutil.copy(trained / "params.json", folder)
    held = read_npz(trained / "artifacts" / "A_seed_123.npz")
    order = np.argsort(held["ll_mon_j"], kind="stable")  # MON cell by MON cell
    ll_mon = ("ll_mon_i", "ll_mon_j", "ll_mon_w_mV")
    six = {n: held[n][order] if n in ll_mon else held[n]
           for n in ("mon_ts_w", "mon_ts_i", "mon_ts_j", *ll_mon)}  # fmt: skip
    write_npz(folder / "artifacts" / "latest_seed_123.npz", six)
    flags = ("--no-figures", *GO_ON)
    assert lateral(tmp_path, "ours", "--evaluate", trained, *flags) == 0
    assert lateral(tmp_path, "theirs", "--evaluate", folder, *flags) == 0
    one, other = (read_npz(tmp_path / n / "artifacts" / "latest_seed_123.npz")
                  for n in ("ours", "theirs"))  # fmt: skip
    for name, array in one.items():
        assert np.array_equal(array, other[name]), name
    names = ("sigma_theta_rad", "n_spikes_test_ts", "n_spikes_test_mon")
    assert [results(tmp_path / "ours")[n] for n in names] == [
        results(tmp_path / "theirs")[n] for n in names
    ]
    capsys.readouterr()
    assert lateral(tmp_path, "x", "--evaluate", folder, "--restore-initial-ll-mon", *flags) == 2
    assert "has no ll_mon_w_init_mV" in capsys.readouterr().err


def test_the_control_says_how_many_trials_it_ran(tmp_path):
    assert lateral(tmp_path, "a", *SMALL_FLAGS, *BEGIN, "--n-training-trials", "13",
                   "--with-control") == 0  # fmt: skip
    row = results(tmp_path / "a")
    assert row["n_trials_run"] == row["n_training_trials"] == 13
    assert row["control"]["n_trials_run"] == CONTROL_TRIALS
    assert row["noise_jitter"] == 1e-12


def test_repeats_and_both_controls(trained, capsys):
    before = results(trained)
    go_on = ["lateral-line", "--resume-from", str(trained), *GO_ON]
    assert main([*go_on, "--test-repeats", "2", "--control-matched"]) == 0
    row = results(trained)
    for name in ("sigma_theta_rad", "n_spikes_test_ts", "w_mean"):
        assert row[name] == before[name]  # the first test is the one that was there
        assert row["repeats"][0].get(name, row[name]) == before[name]
    assert row["control"]["sigma_theta_rad"] == before["control"]["sigma_theta_rad"]
    match, matched = row["match"], row["control_matched"]
    rates = [np.mean([one["rate_test_ts_hz"] for one in of["repeats"]]) for of in (row, matched)]
    assert match["target_hz"] == pytest.approx(rates[0])
    assert match["rate_hz"] == pytest.approx(rates[1])
    assert match["reached"] == (abs(rates[1] / rates[0] - 1) <= match["tolerance"])
    assert not matched["plastic"]
    differences = [a["sigma_theta_rad"] - b["sigma_theta_rad"]
                   for a, b in zip(row["repeats"], row["control"]["repeats"], strict=True)
                   if a["usable"] and b["usable"]]  # fmt: skip
    stated = row["statistics"]["minus_control"]["sigma_theta_rad"]
    assert stated["n"] == len(differences) > 0
    assert stated["mean"] == pytest.approx(np.mean(differences))
    out = capsys.readouterr().out
    assert "trained minus matched control" in out
    assert "MON to TS weights of the matched control times" in out
    assert read(trained / "run_summary.json")["statistics"] == row["statistics"]
    for flags, message in (
        (("--test-repeats", "1"), "test repeats there, not here"),
        (("--no-control-matched",), "matched control there, not here"),
    ):
        assert main([*go_on, *flags]) == 2
        assert message in capsys.readouterr().err


def test_notes_come_before_the_numbers(tmp_path, capsys):
    assert lateral(tmp_path, "a", *SMALL_FLAGS, *BEGIN, "--distance-cm", "0.4") == 0
    out = capsys.readouterr().out
    assert out.index("neuromasts lie inside the sphere") < out.index("spikes in the test")


def test_a_folder_for_copies_is_tried_before_the_training(tmp_path, trained, capsys, monkeypatch):
    def never(*_):
        raise AssertionError("the training began")

    monkeypatch.setattr("studies.lateral_line.seeds.SeedTask.__call__", never)
    (tmp_path / "file").write_text("")
    for there, message in ((tmp_path / "file", "can't be written"),
                           (trained / "artifacts", "lies in a run folder")):  # fmt: skip
        assert lateral(tmp_path, "b", *SMALL_FLAGS, *BEGIN, "--save-weights-dir", there) == 2
        err = capsys.readouterr().err
        assert f"--save-weights-dir {there}" in err
        assert message in err
    assert not (tmp_path / "b").exists()


def test_there_must_be_something_to_resume(trained, tmp_path, capsys):
    state = trained / "artifacts" / "seed_123_checkpoint.npz"
    arrays = read_npz(state)
    arrays["mon_ts_w"][3] = np.nan
    write_npz(state, arrays)
    more = ("--n-training-trials", "4", *GO_ON)
    assert main(["lateral-line", "--resume-from", str(trained), *more]) == 2
    err = capsys.readouterr().err
    assert str(state) in err
    assert "not finite" in err
    assert main(["lateral-line", "--resume-from", str(state), *more]) == 2
    state.unlink()
    capsys.readouterr()
    assert main(["lateral-line", "--resume-from", str(trained), *more]) == 2
    assert "no saved state of seed 123 is there" in capsys.readouterr().err


def test_a_seed_without_a_state_starts_anew_and_says_so(trained, capsys):
    more = ("--multi-seed", "2", "--n-training-trials", "2", *GO_ON)
    assert main(["lateral-line", "--resume-from", str(trained), *more]) == 0
    assert "no saved state of seed 124 is there; training starts anew" in capsys.readouterr().out


def test_a_seed_that_fails_takes_no_other_down(tmp_path, capsys, monkeypatch):
    def fails_at_123(params, **given):
        if params.seed == 123:
            raise RuntimeError("no more")
        return run_network(params, **given)

    monkeypatch.setattr("studies.lateral_line.seeds.run_network", fails_at_123)
    flags = (*SMALL_FLAGS, *BEGIN, "--multi-seed", "2")
    assert lateral(tmp_path, "a", *flags) == 1
    assert "seed 123: RuntimeError: no more" in capsys.readouterr().err
    other = results(tmp_path / "a", 124)
    assert not (tmp_path / "a" / "run_summary.json").exists()
    monkeypatch.setattr("studies.lateral_line.seeds.run_network", run_network)
    assert lateral(tmp_path, "a", *flags) == 0  # the same command goes on
    assert "1 of 2 seeds are there already" in capsys.readouterr().out
    assert results(tmp_path / "a", 124) == other
    assert len(read(tmp_path / "a" / "run_summary.json")["runs"]) == 2


def test_a_killed_run_of_ll_fast_has_something_to_go_on_from():
    for name in ("ll_fast", "ll_fast_literal"):
        p = preset(name)
        assert p.save_trials <= p.n_training_trials / 4


@pytest.mark.parametrize("speed", [5.0, 10.0])
def test_copies_of_a_thesis_run_are_of_the_figures_of_this_run(tmp_path, speed):
    params = preset("ll_thesis", speed_cm_s=speed)
    options = LateralLineOptions(runs_dir=tmp_path, run_name="x")
    owner = Owner.of(Plan(options=options, params=params))
    for other in (5.0, 10.0):  # both lie there
        there = dataclasses.replace(owner.plan, params=preset("ll_thesis", speed_cm_s=other))
        for base, path in Owner.of(there).figures(123).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{base} at {other:g}")
    _copy(owner.copies_of_figures())
    latest = owner.folder / "figures" / "LL_THESIS_BASELINE_ACTIVE_latest.png"
    assert latest.read_text() == f"brian2_spatial_two_stage at {speed:g}"
    latest = latest.with_name("LL_THESIS_BASELINE_TEST_ONLY_latest.png")
    assert latest.read_text() == f"brian2_test_phase_only at {speed:g}"
    plain = owner.folder / "figures" / f"brian2_ts_tuning_u_{speed:.1f}_nMON_3200_nTS_300.png"
    assert plain.read_text() == f"brian2_ts_tuning at {speed:g}"
