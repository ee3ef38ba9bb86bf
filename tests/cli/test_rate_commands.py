"""The `rate` commands as a user types them, at small size."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io
from rate_models import fields, model_file

from bridge.rate_to_spike import save_rate_model
from cli import main

SMALL = ("--task", "go-nogo", "--n-units", "20", "--trial-steps", "12", "--stim-on", "2",
         "--stim-dur", "4", "--n-trials", "4", "--eval-trials", "4")  # fmt: skip


@pytest.fixture
def rate(tmp_path, capsys, monkeypatch):
    """Call ``rate COMMAND``; return exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        try:
            code = main(["rate", *map(str, words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_from_training_to_pictures(rate, tmp_path):
    out = tmp_path / "run"
    code, told, err = rate("train", *SMALL, "--out-dir", out)
    assert code == 0, err
    assert "NOT solved after 4 updates" in told
    names = {p.name for p in out.iterdir()}
    assert {"config.json", "run.sh", "output.log", "model.mat", "model.pth", "metrics.json",
            "learning.png", "checkpoint.pth"} <= names  # fmt: skip
    assert ".running" not in names
    model = scipy.io.loadmat(out / "model.mat")
    assert model["w"].min() == 0
    assert model["task"].item() == "go_nogo"
    assert model["T"].item() == 12
    given = ("--model", out / "model.mat", "--codegen", "numpy", "--n-trials", "3", "--jobs", "1")
    code, told, err = rate("search", *given, "--scaling-factors", "10", "15:20:5")
    assert code == 0, err
    assert "Testing scaling factor: 15" in told
    found = json.loads((out / "search" / "search.json").read_text())
    assert [row["scaling_factor"] for row in found["factors"]] == [10, 15, 20]
    assert scipy.io.loadmat(out / "model.mat")["scaling_factors"].tolist() == [[10, 15, 20]]
    assert not (out / "search" / "unfinished").exists()
    assert (out / "search" / "search.png").is_file()
    assert (out / "search" / "search.csv").read_text().startswith("scaling_factor,n_trials,strict")
    before = (out / "model.mat").read_bytes()
    code, told, _ = rate("search", *given, "--skip-done")
    assert code == 0
    assert "holds a scaling factor already" in told
    code, told, err = rate("convert", *given)
    assert code == 0, err
    report = json.loads((out / "convert" / "conversion.json").read_text())
    assert report["scaling_factor"] == found["opt_scaling_factor"]
    assert report["n_trials"] == 3
    with np.load(out / "convert" / "lif_network.npz", allow_pickle=False) as archive:
        w = model["w"] @ model["m"] * model["som_m"]
        np.testing.assert_allclose(archive["w"], w / report["scaling_factor"], rtol=1e-12)
    code, told, err = rate("eval", *given, "--scaling-factor", "15", "--all-trial-types")
    assert code == 0, err
    results = json.loads((out / "eval" / "results.json").read_text())
    assert results["Total trials"] == 3
    assert results["scaling_factor"] == 15
    assert {"sample_trials.npz", "network_output.png", "go_spike_raster.png"} <= {
        p.name for p in (out / "eval").iterdir()
    }
    code, told, err = rate("plot", "--model", out / "model.mat", "--codegen", "numpy")
    assert code == 0, err
    assert {"network_output.png", "spike_raster.png"} <= {p.name for p in (out / "plot").iterdir()}
    assert (out / "model.mat").read_bytes() == before


def test_a_training_is_resumed_to_the_same_bits(rate, tmp_path):
    words = (*SMALL, "--eval-freq", "2", "--decay-taus", "4", "10", "--no-train-bias")
    assert rate("train", *words, "--n-trials", "9", "--out-dir", tmp_path / "a")[0] == 0
    assert rate("train", *words, "--out-dir", tmp_path / "b")[0] == 0
    resume = ("--n-trials", "9", "--resume", "--out-dir", tmp_path / "b")
    assert rate("train", *words, *resume)[0] == 0
    one, other = (scipy.io.loadmat(tmp_path / k / "model.mat") for k in "ab")
    for name in ("w", "w_out", "taus_gaus", "w0", "losses", "eval_os"):
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    code, _, err = rate("train", *words, *resume, "--gain", "2")
    assert code == 2
    assert "gain was 1.5, now 2.0" in err


def test_a_search_goes_on_where_it_was_stopped(rate, tmp_path, monkeypatch):
    from sim_brian.rate_lif import runs as rate_lif_runs

    path = model_file(tmp_path / "m.mat")
    before = path.read_bytes()
    monkeypatch.setattr(rate_lif_runs, "CELLS_AT_ONCE", 20)
    words = ("search", "--model", path, "--n-trials", "3", "--scaling-factors", "15",
             "--codegen", "numpy", "--jobs", "1", "--out-dir", tmp_path / "s")  # fmt: skip
    measure, calls = rate_lif_runs.Batch.measure, []

    def stop(self, *given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(self, *given)

    monkeypatch.setattr(rate_lif_runs.Batch, "measure", stop)
    assert rate(*words)[0] == 130
    assert path.read_bytes() == before
    assert (tmp_path / "s" / "unfinished").is_dir()
    code, _, err = rate(*words, "--seed", "9")  # another search
    assert code == 2
    assert "another configuration" in err
    assert rate(*words)[0] == 0
    assert len(calls) == 4  # one trial was left
    assert scipy.io.loadmat(path)["opt_scaling_factor"].item() == 15


def snapshot(folder):
    """Return all files of a folder, their bytes and times."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def test_a_trial_that_fails_takes_no_other_down(rate, tmp_path, monkeypatch):
    """In the second round of an adaptive search; the model is left alone until all is there."""
    from sim_brian.rate_lif import runs as rate_lif_runs

    path = model_file(tmp_path / "m.mat")
    before = path.read_bytes()
    monkeypatch.setattr(rate_lif_runs, "CELLS_AT_ONCE", 20)
    monkeypatch.setattr("studies.rate_to_spike.measuring.FIRST_ROUND", 2)
    words = ("search", "--model", path, "--n-trials", "4", "--scaling-factors", "15",
             "--codegen", "numpy", "--jobs", "1", "--adaptive", "--out-dir")  # fmt: skip
    measure, ran = rate_lif_runs.Batch.measure, []

    def fragile(self, trials, *given):
        ran.append(trials[0].number)
        if ran == [0, 1, 2]:
            raise RuntimeError("the node died")
        return measure(self, trials, *given)

    monkeypatch.setattr(rate_lif_runs.Batch, "measure", fragile)
    code, _, err = rate(*words, tmp_path / "s")
    assert code == 1
    assert "1 of 2 runs failed" in err
    assert "trials 2 to 2: RuntimeError: the node died" in err
    assert ran == [0, 1, 2, 3]
    assert path.read_bytes() == before
    held = snapshot(tmp_path / "s")
    other = model_file(tmp_path / "other.mat", seed=5).read_bytes()
    path.write_bytes(other)  # trained again: other trials than those that are held
    code, _, err = rate(*words, tmp_path / "s")
    assert code == 2
    assert "another configuration" in err
    assert snapshot(tmp_path / "s") == held
    path.write_bytes(before)
    ran.clear()
    assert rate(*words, tmp_path / "s")[0] == 0
    assert ran == [2]
    assert not (tmp_path / "s" / "unfinished").exists()
    after = scipy.io.loadmat(path)
    path.write_bytes(before)
    assert rate(*words, tmp_path / "whole")[0] == 0
    assert after["all_perfs"] == scipy.io.loadmat(path)["all_perfs"]
    tables = [(tmp_path / name / "search.csv").read_text() for name in ("s", "whole")]
    assert tables[0] == tables[1]


def test_an_evaluation_takes_other_trials_than_the_search(rate, tmp_path, monkeypatch):
    from studies.rate_to_spike import measuring

    seeds = []
    draw = measuring.draw_trials

    def told(task, n_trials, seed, **given):
        seeds.append(seed)
        return draw(task, n_trials, seed, **given)

    monkeypatch.setattr(measuring, "draw_trials", told)
    monkeypatch.setattr("studies.rate_to_spike.evaluation.draw_trials", told)
    path = model_file(tmp_path / "m.mat")
    given = ("--model", path, "--n-trials", "1", "--codegen", "numpy", "--jobs", "1")
    assert rate("search", *given, "--scaling-factors", "15")[0] == 0
    code, told_out, _ = rate("eval", *given, "--no-plots")
    assert code == 0
    assert "not fresh" not in told_out
    code, told_out, err = rate("eval", *given, "--no-plots", "--seed", "1")
    assert code == 0
    assert "these are not fresh trials" in told_out + err
    assert seeds == [1, 2, 1]


def test_the_batch_changes_the_runs_and_not_the_result(rate, tmp_path, monkeypatch):
    from sim_brian.rate_lif import runs as rate_lif_runs

    sizes = []
    measure = rate_lif_runs.Batch.measure

    def told(self, trials, *given):
        sizes.append(len(trials))
        return measure(self, trials, *given)

    monkeypatch.setattr(rate_lif_runs.Batch, "measure", told)
    path = model_file(tmp_path / "m.mat")
    words = ("search", "--model", path, "--n-trials", "3", "--scaling-factors", "10", "15",
             "--codegen", "numpy", "--jobs", "1")  # fmt: skip
    tables = []
    for batch in ((), ("--batch", "2")):
        out = tmp_path / f"s{len(tables)}"
        assert rate(*words, *batch, "--out-dir", out)[0] == 0
        tables.append((out / "search.csv").read_text())
    assert sizes == [3, 2, 1]
    assert tables[0] == tables[1]


def test_the_samples_of_an_evaluation_obey_its_options(rate, tmp_path):
    path = model_file(tmp_path / "m.mat")
    given = ("eval", "--model", path, "--n-trials", "1", "--codegen", "numpy", "--jobs", "1",
             "--scaling-factor", "15", "--no-plots", "--all-trial-types")  # fmt: skip

    def samples(*words):
        out = tmp_path / ("run" + "".join(words))
        assert rate(*given, *words, "--out-dir", out)[0] == 0
        with np.load(out / "sample_trials.npz", allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    plain = samples()
    assert (plain["go_spike_step"] == 0).any()
    assert not (samples("--init-v", "subthreshold")["go_spike_step"] == 0).any()
    assert len(samples("--t-ref", "20")["go_spike_step"]) < len(plain["go_spike_step"])
    assert samples("--no-extra-column")["go_output"].shape == (1100,)


def test_a_folder_of_models_has_files_for_each(rate, tmp_path):
    (tmp_path / "models").mkdir()
    for name in ("a", "b"):
        model_file(tmp_path / "models" / f"{name}.mat", seed=ord(name))
    code, told, err = rate(
        "search", "--model-dir", tmp_path / "models", "--n-trials", "1", "--scaling-factors", "15",
        "--codegen", "numpy", "--jobs", "1", "--out-dir", tmp_path / "s",
    )  # fmt: skip
    assert code == 0, err
    assert told.count("Saved results for") == 2
    assert {"a_search.json", "b_search.csv", "b_search.png"} <= {
        p.name for p in (tmp_path / "s").iterdir()
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "--task", "chess"), "available: go_nogo, mante, xor"),
        (("train", "--task", "go-nogo", "--delay", "5"), "can't apply to the task go_nogo"),
        (("train", "--task", "xor", "--encoding", "cue"), "can't apply to the task xor"),
        (("train", "--trial-steps", "60"), "end at step 75"),
        (("train", "--decay-taus", "9", "4"), "ascending"),
        (("train", "--som-units", "300"), "exceeds --n-units"),
        (("train", "--resume", "--wipe-dir"), "contradict"),
        (("train", "--n-trils", "5"), "did you mean --n-trials"),
        (("train", "--p-inh", "1.5"), "must be >= 0 and <= 1"),
        (("search",), "needs --model FILE or --model-dir"),
        (("search", "--model", "none.mat"), "no such model file"),
        (("search", "--model-dir", "empty"), "holds no .mat file"),
        (("search", "--model", "m.mat", "--scaling-factors", "a"), "write numbers, or first:last"),
        (("search", "--model", "m.mat", "--scaling-factors", "9:5"), "first:last"),
        (("search", "--model", "m.mat", "--scaling-factors", "-5"), "must be > 0"),
        (("search", "--model", "m.mat", "--scaling-factors", "5", "5"), "given twice"),
        (("search", "--model", "m.mat", "--task", "mante"), "1 input channels"),
        (("search", "--model", "lacking.mat"), "w_out missing"),
        (("search", "--model", "wrong.mat"), "w has shape (2, 2); needed is (20, 20)"),
        (("search", "--model", "m.pth"), "a model is a .mat file"),
        (("convert", "--model", "m.mat"), "holds no scaling factor"),
        (("convert",), "--model FILE is needed"),
        (("eval", "--model", "m.mat", "--scaling-factor", "0"), "must be > 0"),
        (
            ("plot", "--model", "m.mat", "--scaling-factor", "15", "--start", "500"),
            "leaves nothing",
        ),
        (("fly",), "invalid choice"),
        ((), "required: COMMAND"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(rate, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    path = model_file(tmp_path / "m.mat")
    save_rate_model(tmp_path / "lacking.mat", {k: v for k, v in fields().items() if k != "w_out"})
    save_rate_model(tmp_path / "wrong.mat", {**fields(), "w": np.ones((2, 2))})
    before = path.read_bytes()
    code, _, err = rate(*words)
    assert code == 2, err
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    assert message in err
    assert path.read_bytes() == before
    names = {"empty", "m.mat", "lacking.mat", "wrong.mat"}
    assert {p.name for p in tmp_path.iterdir()} <= names | {"artifacts"}
    assert not list(tmp_path.glob("artifacts/**/model.mat"))


@pytest.mark.parametrize("name", ["go_nogo", "xor", "mante"])
def test_the_recipes_are_accepted(rate, tmp_path, name):
    from pathlib import Path

    recipe = Path(__file__).parents[2] / "configs" / "rate" / f"{name}.yaml"
    code, told, err = rate(
        "train", "--config", recipe, "--n-trials", "1", "--n-units", "20", "--eval-trials", "1",
        "--out-dir", tmp_path / "r",
    )  # fmt: skip
    assert code == 0, err
    assert "batch 16" in told
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["train_bias"] is False


def test_a_task_of_a_users_own_goes_all_the_way(rate, tmp_path, monkeypatch):
    import re
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "rate_to_spike.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)TaskFactory.register_task", page, re.DOTALL)
    (tmp_path / "my_tasks.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "run"
    code, _, err = rate(
        "train", "--task", "my_tasks:HoldTask", "--n-units", "20", "--trial-steps", "12",
        "--stim-on", "2", "--stim-dur", "4", "--n-trials", "2", "--eval-trials", "2",
        "--out-dir", out,
    )  # fmt: skip
    assert code == 0, err
    search = (
        "search", "--model", out / "model.mat", "--n-trials", "2", "--scaling-factors", "15",
        "--codegen", "numpy", "--jobs", "1",
    )  # fmt: skip
    code, _, err = rate(*search)
    assert code == 2
    assert "--task" in err  # no file has code run; who has the file can say so
    code, told, err = rate(*search, "--task", "my_tasks:HoldTask")
    assert code == 0, err
    assert "Processing my_tasks:HoldTask task" in told
    assert json.loads((out / "search" / "search.json").read_text())["task"] == "hold"
