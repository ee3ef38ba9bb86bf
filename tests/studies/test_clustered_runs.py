"""Configurations, stagers, repeats and sweeps of clustered networks."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from clustered import TINY, tiny
from killed import kill_when_held

from bridge.clustered.perturbation import gather_perturbations
from studies.clustered import (
    FullMeanFieldBaseSweepRunner,
    FullMeanFieldStager,
    ReducedMeanFieldStager,
    Repeater,
    SNNBaseSweepRunner,
    StageSNNSimulation,
    read_config,
)
from studies.clustered.logger import Logger, quiet_logger
from studies.clustered.sweeps import with_value
from studies.stored import StepError

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs" / "clustered").rglob("*.yaml"))
HAT = {"shape": "hat", "onset_time": 0.02, "offset_time": 0.05}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_load(path):
    mean_field = "mean_field" in path.stem or path.stem.endswith("_mf")
    if path.parent.name == "templates":
        with pytest.raises(ValueError, match=r"missing: .*n_neurons.*nu_ext_baseline"):
            read_config(path, spiking=not mean_field)
    else:
        assert read_config(path, spiking=not mean_field).init.n_neurons in (800, 2000)


def test_a_configuration_is_found_under_its_published_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_config("configs/2_cluster_mf.yaml", spiking=False).clusters.n_clusters == 2
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_config("configs/nothing.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arousal": {"levle": 0.3}}, "arousal: unknown key 'levle'; did you mean level"),
        ({"architecture": {"netwrok": {}}}, r"architecture\.netwrok; did you mean network"),
        ({"arousel": {}}, "unknown section arousel; did you mean arousal"),
        ({"architecture__clusters": {"connectivity_fraction_probs": [0.2, 1.5, 0.5, 0.5]}},
         "connectivity_fraction_probs"),
        ({"architecture__clusters": {"j_baseline": [1, 2, 3]}}, "j_baseline"),
        ({"architecture__clusters": {"total_pops": 9}}, r"total_pops = 9 must be .* = 8"),
        ({"architecture__clusters": {"n_clusters": 200, "total_pops": None}}, "do not fill 200"),
        ({"architecture__clusters": {"n_excitatory_background": 161}}, "more than the 160"),
        ({"init_params": {"n_inhibitory": 41}}, "must be n_neurons = 200"),
        ({"init_params": {"delta_t": None, "n_neurons": None}},
         r"missing: init_params\.delta_t, init_params\.n_neurons"),
        ({"init_params": {"mechanism": "rk4"}}, "mechanism"),
        ({"stimulus": {"tau_rise": 0.1, "tau_decay": 0.1}}, "must differ"),
        ({"arousal": {"level": 2}}, "level"),
        ({"perturbation": {"rates": {}}}, "did you mean rate"),
        ({"perturbation": {"rate": {"vectors": [[1, 1]], "params": [1]}}},
         r"perturbation\.rate: vector 0 has 2 values for 8"),
        ({"perturbation": {"rate": {"vectors": [[1] * 8], "params": [1, 2]}}}, "2 params for 1"),
        ({"perturbation": {"rate": {"vectors": [[1] * 8]}}}, "params is missing"),
        ({"perturbation": {"rate": {"params": [1], "time_dependence": {"shape": "hut"}}}},
         "did you mean hat"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_configuration_is_one_line(changes, words):
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        read_config(tiny(**changes))
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_and_paths_are_configurations():
    """The loop that everybody writes: a value of an array, and a stager of each."""
    levels = np.linspace(0.1, 0.3, 2)
    for level in levels:
        tree = tiny(
            arousal={"level": level}, init_params={"n_neurons": np.int64(200)},
            architecture__clusters={"j_baseline": np.array([0.63, 0.63, -1.9, -3.8]),
                                    "potentiate": np.bool_(True)},
            stimulus={"amplitude": np.float32(0.5)}, settings={"save_dir": Path("sims")},
            external_currents={"c_ext": (100, np.uint16(100), 0, 0)},
        )  # fmt: skip
        stager = StageSNNSimulation.from_dict(tree)
        assert stager.config.arousal.level == level
        assert type(stager.config.arousal.level) is float
        same = read_config(stager.config.content)  # what is written is what was read
        for name in ("init", "network", "clusters", "external", "stimulus", "arousal"):
            assert getattr(same, name) == getattr(stager.config, name), name
        assert same.settings.save_dir == Path("sims")
        assert tree["architecture"]["clusters"]["j_baseline"].dtype == np.float64, "left alone"
    with pytest.raises(TypeError, match=r"arousal\.level is a complex; use numbers"):
        read_config(tiny(arousal={"level": np.complex128(1j)}))
    with pytest.raises(TypeError, match=r"c_ext\[1\] is a set"):
        read_config(tiny(external_currents={"c_ext": [100, {1}]}))


def test_a_key_given_twice_names_its_line():
    text = yaml.safe_dump(TINY) + "arousal: {level: 0.1}\n"
    with pytest.raises(ValueError, match=r"line \d+: arousal is already given in line"):
        read_config(text.encode())


def test_clusters_that_do_not_divide_warn_once_with_the_numbers():
    with pytest.warns(UserWarning, match="1 excitatory and 0 inhibitory neurons do not fill"):
        StageSNNSimulation(tiny(architecture__clusters={"n_excitatory_background": 15}))


# --- perturbations ------------------------------------------------------------------------


def test_every_target_acts_in_both_models():
    plain = FullMeanFieldStager(TINY)
    spiking = StageSNNSimulation(tiny(init_params={"duration_sec": 0.04}), backend="numpy")
    before = spiking.run_events()
    base = plain.model.response(np.full(8, 5.0))
    for target in ("rate", "j_baseline", "j_potentiated", "j", "j_ext", "threshold",
                   "tau_membrane", "tau_synaptic", "tau_refractory", "arousal_level", "arousal_L",
                   "arousal_x_0", "arousal_k", "arousal_M"):  # fmt: skip
        size = {"tau_membrane": 0.005, "tau_synaptic": 0.002, "tau_refractory": 0.003,
                "j": 1.3, "arousal_level": 0.3, "arousal_x_0": 0.3}.get(target, 0.25)  # fmt: skip
        given = {f"{target}_perturbation": np.full(8, size)}
        model = FullMeanFieldStager(TINY, **given).model
        assert np.max(np.abs(model.response(np.full(8, 5.0)) - base)) > 1e-4, target
        after = spiking.run_events(**given)
        assert not np.array_equal(after.neuron, before.neuron), target


def test_keyword_beats_construction_beats_yaml():
    block = {"threshold": {"vectors": [[0.1] * 8], "params": [1.0]}}
    tree = tiny(perturbation=block)
    assert FullMeanFieldStager(tree).model.threshold[0] == pytest.approx(1.6)
    given = {"threshold": np.full(8, 0.2)}
    assert FullMeanFieldStager(tree, perturbations=given).model.threshold[0] == pytest.approx(1.7)
    stager = FullMeanFieldStager(tree, perturbations=given, threshold_perturbation=np.full(8, 0.3))
    assert stager.model.threshold[0] == pytest.approx(1.8)
    with pytest.raises(TypeError, match="unknown argument 'treshold_perturbation'"):
        FullMeanFieldStager(tree, treshold_perturbation=np.zeros(8))


def test_a_time_course_has_exactly_the_steps_of_the_run():
    tree = tiny(perturbation={"rate": {
        "vectors": [[1, -1]], "involved_clusters": [[0, 3]], "params": [2.0],
        "time_dependence": HAT,
    }})  # fmt: skip
    blocks = read_config(tree).perturbation
    found = gather_perturbations(blocks, {}, length=8, n_steps=200, dt_s=0.0005)["rate"]
    assert found.shape == (8, 200)
    assert found[0].nonzero()[0][[0, -1]].tolist() == [40, 99]
    assert found[3, 40] == -2.0
    # 2.5 // 0.0005 is 4999 in floating point
    assert blocks["rate"].mask(n_steps=round(2.5 / 0.0005), dt_s=0.0005).shape == (5000,)


def test_only_the_rate_may_depend_on_time():
    block = {"vectors": [[0.1] * 8], "params": [1.0], "time_dependence": HAT}
    stager = StageSNNSimulation(tiny(perturbation={"rate": block}), backend="numpy")
    assert len(stager.run_events().step)
    with pytest.raises(ValueError, match="threshold can't depend on time"):
        StageSNNSimulation(tiny(perturbation={"threshold": block})).run()
    whole = dict(block, time_dependence={"shape": "hat", "onset_time": 0, "offset_time": None})
    StageSNNSimulation(tiny(perturbation={"threshold": whole}), backend="numpy").run_events()


# --- stagers ------------------------------------------------------------------------------


def test_outputs_are_what_was_asked_for_and_always_the_same():
    stager = StageSNNSimulation(TINY, random_seed=5, backend="numpy")
    first = stager.run()
    assert set(first) == {"spikes", "clusters", "metadata"}
    assert first["spikes"].shape == (200, stager.network.layout.n_neurons)
    with pytest.raises(KeyError, match="output_keys"):
        first["voltage"]
    second = stager.run(output_keys=["spikes", "voltage", "current", "weights", "stimulus"])
    np.testing.assert_array_equal(first["spikes"], second["spikes"])
    assert second["voltage"].shape == second["current"].shape == first["spikes"].shape
    other = StageSNNSimulation(TINY, random_seed=6, backend="numpy").run()
    assert not np.array_equal(first["spikes"], other["spikes"])


def test_explicit_counts_replace_the_drive():
    stager = StageSNNSimulation(TINY, backend="numpy")
    n = stager.network.layout.n_neurons
    silent = stager.run(external_counts=np.zeros((200, n), dtype=int))
    assert not silent["spikes"].any()


@pytest.mark.compiler
def test_all_targets_fire_the_same_spikes():
    tree = tiny(perturbation={"rate": {
        "vectors": [[3] * 8], "params": [1.0], "time_dependence": HAT,
    }})  # fmt: skip
    runs = {
        target: StageSNNSimulation(tree, random_seed=3, backend=target).run_events()
        for target in ("numpy", "cpp")
    }
    assert len(runs["cpp"].step) > 50
    np.testing.assert_array_equal(runs["cpp"].step, runs["numpy"].step)
    np.testing.assert_array_equal(runs["cpp"].neuron, runs["numpy"].neuron)


@pytest.mark.parametrize("noise", ["quenched", "mean"])
def test_other_noises_run_and_differ(noise):
    tree = tiny(arousal={"level": 1.0})  # at low arousal the noise is as good as its mean
    per_step = StageSNNSimulation(tree, backend="numpy").run_events()
    other = StageSNNSimulation(tree, backend="numpy", arousal_noise=noise).run_events()
    assert len(other.step) > 20
    assert not np.array_equal(per_step.neuron, other.neuron)


def test_execute_writes_the_published_folder(tmp_path):
    settings = {"save": True, "plot": True, "save_dir": str(tmp_path), "sim_name": "one"}
    outputs = StageSNNSimulation(tiny(settings=settings), backend="numpy").execute("spikes")
    folder = tmp_path / "one"
    for name in ("data/outputs.npz", "config.yaml", "plots/spike_raster.png", "metadata/run.log",
                 "metadata/provenance.json"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    with np.load(folder / "data" / "outputs.npz") as saved:
        np.testing.assert_array_equal(saved["spikes"], outputs["spikes"])
    facts = json.loads((folder / "metadata" / "provenance.json").read_text())
    assert facts["seed"] == 256
    assert facts["backend"] == "numpy"


def test_mean_field_stagers_on_the_two_cluster_file():
    full = FullMeanFieldStager("configs/2_cluster_mf.yaml", random_seed=7).run(n_runs=50)
    np.testing.assert_allclose(
        full["unique_fixed_points"][:, :2],
        [[2.534, 51.092], [21.808, 21.808], [51.092, 2.534]], atol=1e-3,
    )  # fmt: skip
    reduced = ReducedMeanFieldStager("configs/2_cluster_mf.yaml", random_seed=7)
    found = reduced.run(focus_pops=[0, 1], grid_density=2.0, grid_lims=(0.0, 60.0))
    assert found["force_field"].shape == (30, 30, 2)
    assert found["path"].shape == (30, 2)
    uneven = reduced.run(focus_pops=[5, 0], grid_density=4.0, grid_lims=[(0, 20), (0, 60)])
    assert uneven["force_field"].shape == (5, 15, 2)
    with pytest.raises(ValueError, match="grid_density"):
        reduced.run(grid_density=0.0)


def test_sampled_noise_depends_on_the_seed_in_the_fourth_digit():
    rates = [
        FullMeanFieldStager("configs/2_cluster_mf.yaml", random_seed=seed, arousal_noise="sampled")
        .model.solve_rates().x[0]
        for seed in (1, 2)
    ]  # fmt: skip
    assert 1e-6 < abs(rates[0] / rates[1] - 1) < 1e-2


# --- repeats ------------------------------------------------------------------------------


def make(seed):
    return StageSNNSimulation(TINY, random_seed=seed, backend="numpy")


def fails_for_one(seed):
    if seed == 1436224186:
        raise RuntimeError("the second seed is unlucky")
    return make(seed)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())} | {
        "clusters": (folder / "clusters.npy").read_bytes()
    }


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """Return the folder of three repeats, one after the other."""
    folder = tmp_path_factory.mktemp("repeats") / "serial"
    Repeater(3, folder, stager_factory=make, config=TINY, logger=quiet_logger("repeats")).run()
    return folder


def test_repeats_are_the_same_bytes_however_they_run(tmp_path, cluster, serial):
    expected = contents(serial)
    assert list(expected) == ["spikes_0.npy", "spikes_1.npy", "spikes_2.npy", "clusters"]
    assert len(set(expected.values())) == 4
    for name, how in (
        ("threads", {"executor": "thread", "max_workers": 2}),
        ("processes", {"executor": "process", "max_workers": 2}),
        ("dask", {"executor": "dask", "scheduler": cluster}),
    ):
        Repeater(3, tmp_path / name, stager_factory=make, config=TINY, plot=False, parallel=True,
                 logger=quiet_logger("repeats"), **how).run()  # fmt: skip
        assert contents(tmp_path / name) == expected, name
    metadata = serial / "metadata"
    assert (metadata / "seeds.txt").read_text().split()[0] == "196639904"
    assert yaml.safe_load((metadata / "config.yaml").read_text()) == TINY
    assert {path.name for path in metadata.iterdir()} == {
        "seeds.txt", "config.yaml", "cmd.txt", "run.log", "owner.json"
    }  # fmt: skip
    assert (serial / "plots" / "spikes_2.png").stat().st_size > 5000


def test_a_failing_repeat_is_reported_and_takes_no_other_down(tmp_path):
    repeater = Repeater(3, tmp_path, stager_factory=fails_for_one, plot=False,
                        logger=quiet_logger("repeats"))  # fmt: skip
    with pytest.raises(StepError, match=r"1 of 3 .*repeat 1 \(seed 1436224186\).*unlucky"):
        repeater.run()
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["spikes_0.npy", "spikes_2.npy"]
    log = (tmp_path / "metadata" / "run.log").read_text()
    assert "Traceback" in log


def test_a_function_that_cannot_travel_is_named(tmp_path):
    lock = __import__("threading").Lock()
    with pytest.raises(ValueError, match="stager_factory can't be sent"):
        Repeater(2, tmp_path, stager_factory=lambda seed: lock, parallel=True,
                 executor="process")  # fmt: skip


def test_seeds_come_from_a_file_or_from_before(tmp_path):
    file = tmp_path / "seeds.txt"
    file.write_text("5\n6\n")
    given = {"stager_factory": make, "plot": False, "logger": quiet_logger("repeats")}
    first = Repeater(None, tmp_path / "a", seeds_file=file, **given)
    assert [row["seed"] for row in first.run()] == [5, 6]
    assert Repeater(2, tmp_path / "a", load_saved_seeds=True, **given).seeds == [5, 6]
    with pytest.raises(ValueError, match="n_repeats = 3, but"):
        Repeater(3, tmp_path / "a", seeds_file=file, **given)
    file.write_text("5\nsix\n")
    with pytest.raises(ValueError, match="line 2: 'six' is no integer"):
        Repeater(None, tmp_path / "a", seeds_file=file, **given)


def nu_factory(nu_hz, fails=False):
    """Return a factory that only its closure knows: another external rate is another network."""

    def factory(seed):
        if fails and seed == 1436224186:
            raise RuntimeError("the node died")
        tree = tiny(init_params={"duration_sec": 0.05})
        tree["external_currents"]["nu_ext_baseline"] = [nu_hz, 7.0, 0.0, 0.0]
        return StageSNNSimulation(tree, random_seed=seed, backend="numpy")

    return factory


QUIET = {"plot": False, "logger": quiet_logger("repeats")}


def test_repeats_of_another_factory_are_not_mixed_in(tmp_path):
    with pytest.raises(StepError, match="node died"):
        Repeater(2, tmp_path / "a", stager_factory=nu_factory(12.0, fails=True), **QUIET).run()
    before = snapshot(tmp_path / "a")
    for factory in (nu_factory(7.0), lambda seed: nu_factory(12.0)(seed)):
        with pytest.raises(ValueError, match=r"unfinished repeats of another .*--wipe-dir"):
            Repeater(2, tmp_path / "a", stager_factory=factory, **QUIET).run()
        assert snapshot(tmp_path / "a") == before
    rows = Repeater(2, tmp_path / "b", stager_factory=nu_factory(7.0), **QUIET).run()
    driven = Repeater(2, tmp_path / "c", stager_factory=nu_factory(12.0), **QUIET).run()
    assert rows[0]["n_spikes"] < driven[0]["n_spikes"]


def test_a_file_that_a_factory_reads_counts(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tiny(init_params={"duration_sec": 0.05})))

    def factory(seed):
        if seed == 1436224186:
            raise RuntimeError("the node died")
        return StageSNNSimulation(path, random_seed=seed, backend="numpy")

    with pytest.raises(StepError):
        Repeater(2, tmp_path / "a", stager_factory=factory, **QUIET).run()
    path.write_text(yaml.safe_dump(tiny(init_params={"duration_sec": 0.05}, arousal={"level": 1})))
    with pytest.raises(ValueError, match="unfinished repeats of another"):
        Repeater(2, tmp_path / "a", stager_factory=factory, **QUIET).run()


def test_a_folder_belongs_to_one_set_of_repeats(tmp_path):
    def repeats(n=2, nu_hz=7.0, **more):
        factory = nu_factory(nu_hz)
        return Repeater(n, tmp_path, stager_factory=factory, **QUIET, **more).run()

    first = repeats()
    assert repeats() == first  # once more: the same files
    before = snapshot(tmp_path)
    for more in ({"n": 1}, {"n": 3}, {"nu_hz": 12.0}, {"seed": 3}, {"spike_format": "events"}):
        with pytest.raises(ValueError, match=r"clusters\.npy.*another save_dir .*--wipe-dir"):
            repeats(**more)
        assert snapshot(tmp_path) == before, more
    (tmp_path / "metadata" / "owner.json").unlink()  # recordings that nobody knows
    with pytest.raises(ValueError, match=r"data/spikes_0\.npy, data/spikes_1\.npy, clusters"):
        repeats()


def test_damaged_recordings_are_made_again(tmp_path):
    def analysed(fails):
        repeater = Repeater(2, tmp_path, stager_factory=nu_factory(7.0), **QUIET)
        with repeater.repeats() as rows:
            if fails:
                raise OSError("killed in its analysis")
        return rows

    with pytest.raises(OSError, match="killed"):
        analysed(fails=True)
    before = contents(tmp_path)
    assert len(list((tmp_path / "metadata" / "unfinished").glob("0*.npz"))) == 2
    (tmp_path / "data" / "spikes_1.npy").write_bytes(before["spikes_1.npy"][:-1])
    (tmp_path / "clusters.npy").write_bytes(b"")
    rows = analysed(fails=False)
    assert [row["index"] for row in rows] == [0, 1]
    assert contents(tmp_path) == before
    assert "resuming: 1 of 2" in (tmp_path / "metadata" / "run.log").read_text()


def test_factories_that_take_a_logger_are_given_that_of_the_repeats(tmp_path):
    """In other processes, too; mean fields, so that these start in a moment."""

    def factory(seed, logger):
        logger.info(f"built with {seed}")
        return FullMeanFieldStager(TINY, random_seed=seed, logger=logger)

    def seed_of(stager):
        return stager.random_seed

    def save(outputs, index, folder):
        (folder / "data" / f"{index}.txt").write_text(str(outputs))

    for name, how in (("serial", {}), ("process", {"parallel": True, "executor": "process"})):
        Repeater(2, tmp_path / name, stager_factory=factory, run_fn=seed_of, save_fn=save,
                 logger=quiet_logger("repeats"), **how).run()  # fmt: skip
        assert (tmp_path / name / "data" / "1.txt").read_text() == "1436224186"
        log = (tmp_path / name / "metadata" / "run.log").read_text()
        assert log.count("repeats: built with 196639904\n") == 1, name
        assert log.count("repeats: built with 1436224186\n") == 1, name


@pytest.mark.parametrize("line", ["-5", "9223372036854775808", "1_0", "²", "seven"])
def test_seeds_that_are_none_are_known_before_anything_runs(tmp_path, line):
    file = tmp_path / "seeds.txt"
    file.write_text(f"5\n{line}\n")
    with pytest.raises(ValueError, match=rf"seeds\.txt, line 2: .*{line}"):
        Repeater(None, tmp_path / "a", stager_factory=make, seeds_file=file, **QUIET)
    assert not (tmp_path / "a").exists()


SCRIPT = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {helpers!r})
from clustered import TINY
from studies.clustered import Repeater, StageSNNSimulation

def make(seed):
    if "HOLD" in os.environ and list(Path({folder!r}).glob("metadata/unfinished/0*.npz")):
        print("held here", flush=True)
        time.sleep(1e9)
    return StageSNNSimulation(TINY, random_seed=seed, backend="numpy")

Repeater(3, {folder!r}, stager_factory=make, config=TINY, plot=False).run()
"""


def test_killed_repeats_go_on(tmp_path, serial):
    script = tmp_path / "script.py"
    helpers = str(ROOT / "tests" / "helpers")
    script.write_text(SCRIPT.format(folder=str(tmp_path / "killed"), helpers=helpers))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    kill_when_held(command, env={"HOLD": "1"})
    data = tmp_path / "killed" / "data"
    left = {path.name: path.stat().st_mtime_ns for path in data.glob("spikes_*")}
    assert 1 <= len(left) < 3
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "resuming:" in done.stdout
    n_kept = int(done.stdout.split("resuming: ")[1].split()[0])
    assert n_kept >= max(1, len(left) - 1)  # the last file may have come without its note
    now = {path.name: path.stat().st_mtime_ns for path in data.glob("spikes_*")}
    assert sum(now[name] == stamp for name, stamp in left.items()) >= n_kept
    assert contents(tmp_path / "killed") == contents(serial)


# --- sweeps -------------------------------------------------------------------------------


class SpikeCountSweep(SNNBaseSweepRunner):
    """The example of the documentation, but for what it prints."""

    def _step(self, param, idx, sweep_param, **kwargs):
        outputs = self._sweep_object.run(**kwargs)
        return int(outputs["spikes"].sum())

    def summary(self, results, sweep_params):
        self.told = list(zip(sweep_params, results, strict=True))


NU = ["external_currents", "nu_ext_baseline"]


def test_a_sweep_of_a_spiking_network(tmp_path):
    sweep = SpikeCountSweep(backend="numpy")
    found = sweep.execute(main_dir=tmp_path, baseline_params=TINY, param=NU,
                          sweep_params=[5.0, 8.0, 12.0], param_idx=0)  # fmt: skip
    assert sweep.told == list(zip([5.0, 8.0, 12.0], found, strict=True))
    assert found[0] < found[1] < found[2]


class RateSweep(FullMeanFieldBaseSweepRunner):
    """The rate of the first population: no spikes, so that workers start in a moment."""

    def _step(self, param, idx, sweep_param, **kwargs):
        return float(self._sweep_object.run(**kwargs)["unique_fixed_points"][0, 0])


def test_sweeps_are_the_same_however_they_run(tmp_path, cluster):
    def go(name, **how):
        return RateSweep().execute(
            main_dir=tmp_path / name, baseline_params=TINY, param=NU,
            sweep_params=[5.0, 8.0, 12.0], param_idx=0, n_runs=3, **how,
        )  # fmt: skip

    serial = go("serial")
    assert serial[0] < serial[1] < serial[2]
    for name, how in (
        ("threads", {"executor": "thread", "max_workers": 2}),
        ("processes", {"executor": "process", "max_workers": 2}),
        ("dask", {"executor": "dask", "scheduler": cluster}),
    ):
        assert go(name, parallel=True, **how) == serial, name
    configs = sorted((tmp_path / "serial" / "configs").iterdir())
    rates = [read_config(path).external.nu_ext_baseline[0] for path in configs]
    assert rates == [5.0, 8.0, 12.0]
    assert TINY["external_currents"]["nu_ext_baseline"][0] == 7.0


EXAMPLES = """
import numpy as np
from bridge.mean_field import LIFMeanField
from studies.clustered import (
    Analyzer, FullMeanFieldStager, ReducedMeanFieldStager, SNNBaseSweepRunner, StageSNNSimulation,
)

stager = StageSNNSimulation("configs/default_snn_params.yaml", random_seed=123)
outputs = stager.run()
stager.execute(plot_arg="spikes")

full = FullMeanFieldStager("configs/2_cluster_mf.yaml", random_seed=7)
full_outputs = full.run(n_runs=50)
reduced = ReducedMeanFieldStager("configs/2_cluster_mf.yaml", random_seed=7)
reduced_outputs = reduced.run(focus_pops=[0, 1], grid_density=0.5, grid_lims=(0.0, 60.0))
print(len(full_outputs["unique_fixed_points"]), reduced_outputs["force_field"].shape)

class SpikeCountSweep(SNNBaseSweepRunner):
    def _step(self, param, idx, sweep_param, **kwargs):
        outputs = self._sweep_object.run(**kwargs)
        return int(outputs["spikes"].sum())

    def _store(self, *args, **kwargs):
        pass

    def summary(self, results, sweep_params):
        print(list(zip(sweep_params, results)))

    def _summary_plot(self, *args, **kwargs):
        pass

    def summarize_repeated_run(self, *args, **kwargs):
        pass

sweep = SpikeCountSweep()
settings = dict(
    main_dir="simulations/sweep_demo", baseline_params="configs/snn_test_run.yaml",
    param=["external_currents", "nu_ext_baseline"], sweep_params=[5.0, 7.5, 10.0], param_idx=0,
)
sweep.execute(**settings)
sweep.execute(**settings, parallel=True, executor="process")

analyzer = Analyzer("simulations/snn_test_run/data",
                    clusters="simulations/snn_test_run/clusters.npy", dt=0.5e-3)
print(analyzer.get_num_states())
analyzer.save_analysis("simulations/snn_test_run/analysis")
loaded = Analyzer.load_analysis("simulations/snn_test_run/analysis")
print(loaded.get_transition_matrix().shape)

lif_mf = LIFMeanField(
    n_clusters=2, c_matrix=np.ones((2, 2), dtype=int), j_matrix=0.1 * np.ones((2, 2)),
    j_ext=np.array([2.3, 2.3]), c_ext=np.array([320, 320]), nu_ext=np.array([7.0, 7.0]),
    tau_membrane=[0.02, 0.02], tau_synaptic=[0.005, 0.005], threshold=[1.5, 0.75],
    reset_voltage=0.0, tau_refractory=0.005,
)
sol = lif_mf.solve_rates()
nu_star = sol.x
fp_type, eigvals = lif_mf.determine_stability(nu_star)
print(nu_star.round(4).tolist(), fp_type)
"""


def test_the_examples_of_the_original_run_as_written(tmp_path):
    """Import paths apart; in a script without a guard, with processes, warnings as errors."""
    (tmp_path / "configs").mkdir()
    for name in ("default_snn_params", "snn_test_run"):
        (tmp_path / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(TINY))
    folder = tmp_path / "simulations" / "snn_test_run"
    Repeater(2, folder, stager_factory=make, plot=False, logger=quiet_logger("repeats")).run()
    (tmp_path / "example.py").write_text(EXAMPLES)
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "example.py"], cwd=tmp_path, check=False,
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shapes, serial, parallel, n_states, matrix, last = done.stdout.strip().splitlines()
    assert shapes == "3 (120, 120, 2)"
    assert serial == parallel
    told = ast.literal_eval(serial)
    assert [value for value, _ in told] == [5.0, 7.5, 10.0]
    assert told[0][1] < told[2][1]
    assert matrix == f"({n_states}, {n_states})"
    assert last == "[188.2719, 193.9814] stable node"
    assert (folder / "analysis" / "transition_matrix.npy").is_file()
    assert len(list((tmp_path / "simulations" / "sweep_demo" / "configs").iterdir())) == 3


def test_values_stay_whole_and_paths_must_exist():
    changed = with_value(TINY, ["external_currents", "c_ext"], 120.0, 1)
    assert changed["external_currents"]["c_ext"] == [100, 120, 0, 0]
    assert isinstance(changed["external_currents"]["c_ext"][1], int)
    for path, index, words in (
        (["external_currents", "nu"], None, r"no entry external_currents\.nu"),
        (NU, None, "say param_idx"), (NU, 9, "does not exist"),
        (["arousal", "level"], 0, "no list"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            with_value(TINY, path, 1.0, index)


def test_a_sweep_over_impossible_values_stops_before_it_starts(tmp_path):
    sweep = SpikeCountSweep(backend="numpy")
    with pytest.raises(ValueError, match="level"):
        sweep.execute(tmp_path / "bad", TINY, ["arousal", "level"], [0.1, 5.0])
    assert not (tmp_path / "bad").exists()


class Fragile(FullMeanFieldBaseSweepRunner):
    """Needs a file at its second step, as one that reads a network's disk may."""

    def __init__(self, needed):
        super().__init__()
        self.needed = needed

    def _step(self, param, idx, sweep_param, **kwargs):
        if idx == 1 and not self.needed.exists():
            raise RuntimeError("no luck")
        return super()._step(param, idx, sweep_param, **kwargs)


def test_a_failed_sweep_keeps_its_steps_and_goes_on(tmp_path):
    needed = tmp_path / "needed"
    given = (tmp_path / "s", TINY, ["arousal", "level"], [0.1, 0.2, 0.3])
    with pytest.raises(StepError, match=r"step 1 \(0\.2, seed 256\): RuntimeError: no luck"):
        Fragile(needed).execute(*given, n_runs=5)
    notes = tmp_path / "s" / "metadata" / "unfinished"
    assert len(list(notes.glob("0*.npz"))) == 2
    needed.touch()
    found = Fragile(needed).execute(*given, n_runs=5)
    log = (tmp_path / "s" / "metadata" / "sweep.log").read_text()
    assert "resuming: 2 of 3" in log
    assert log.count("step 0 (0.1, seed 256) done") == 1
    assert not notes.exists()
    expected = Fragile(needed).execute(tmp_path / "fresh", *given[1:], n_runs=5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one["rates"], other["rates"])
    with pytest.raises(ValueError, match="unknown"):
        Fragile(needed).execute(*given, executor="mpi")


def mended(value, fails):
    """Return a runner whose step was typed again, with another value in it."""

    class Mended(FullMeanFieldBaseSweepRunner):
        scale = 1.0

        def _step(self, param, idx, sweep_param, **kwargs):
            if fails and idx == 1:
                raise RuntimeError("a bug")
            return self.scale * value

    return Mended()


def snapshot(folder):
    """Return all files of a folder, their bytes and times."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def test_steps_of_other_code_are_not_mixed_in(tmp_path):
    given = {"baseline_params": TINY, "param": ["arousal", "level"], "sweep_params": [0.1, 0.2]}
    with pytest.raises(StepError):
        mended(1.0, True).execute(tmp_path / "s", **given)
    before = snapshot(tmp_path / "s")
    scaled = mended(1.0, True)
    scaled.scale = 3.0
    for other, more in (
        (mended(2.0, False), {}),  # another step
        (scaled, {}),  # the same code with another attribute
        (mended(1.0, True), {"random_seed": 3}),
        (mended(1.0, True), {"sweep_params": [0.1, 0.3]}),
        (mended(1.0, True), {"extra": np.ones(2)}),  # for _step
    ):
        with pytest.raises(ValueError, match=r"unfinished steps of another .*another main_dir"):
            other.execute(tmp_path / "s", **given | more)
        assert snapshot(tmp_path / "s") == before
    assert mended(2.0, False).execute(tmp_path / "clean", **given) == [2.0, 2.0]


class Written(RateSweep):
    """Keeps a file of each step."""

    def _store(self, result, idx, directory):
        (directory / "data" / f"rate_{idx}.txt").write_text(repr(result))


def test_a_folder_belongs_to_one_sweep(tmp_path):
    def go(values, runner=Written, **more):
        return runner().execute(tmp_path, TINY, NU, values, 0, n_runs=3, **more)

    first = go([5.0, 8.0, 12.0])
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match=r"data/rate_0.txt.*another main_dir, or remove"):
        go([5.0, 8.0])
    assert snapshot(tmp_path) == before
    assert go([5.0, 8.0, 12.0]) == first  # the same sweep once more
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    go([5.0, 8.0])  # nothing was left to lose
    assert sorted(path.name for path in (tmp_path / "configs").iterdir()) == ["0.yaml", "1.yaml"]


def test_a_summary_that_fails_loses_no_step(tmp_path):
    class Clumsy(RateSweep):
        def summary(self, results, sweep_params):
            if not (tmp_path / "fixed").exists():
                raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        Clumsy().execute(tmp_path / "s", TINY, NU, [5.0, 8.0], 0, n_runs=3)
    assert len(list((tmp_path / "s" / "metadata" / "unfinished").glob("0*.npz"))) == 2
    (tmp_path / "fixed").touch()
    Clumsy().execute(tmp_path / "s", TINY, NU, [5.0, 8.0], 0, n_runs=3)
    assert "resuming: 2 of 2" in (tmp_path / "s" / "metadata" / "sweep.log").read_text()


def test_trials_of_a_sweep_have_seeds_of_their_own(tmp_path):
    class Kept(SpikeCountSweep):
        def summarize_repeated_run(self, results, directory):
            self.trials = results

    sweep = Kept(backend="numpy")
    sweep.repeat(tmp_path, 2, TINY, NU, [8.0], 0)
    assert sweep.trials[0] != sweep.trials[1]
    assert {path.name for path in tmp_path.iterdir()} == {"trial_0", "trial_1"}


def test_log_lines(tmp_path, capsys):
    with Logger("name", file_path=tmp_path / "run.log", include_timestamp=False) as logger:
        logger.info("hello")
        logger.debug("not shown")
        logger.warning("once", once="key")
        logger.warning("once", once="key")
    assert capsys.readouterr().out == "[INFO] name: hello\n[WARNING] name: once\n"
    assert (tmp_path / "run.log").read_text().count("\n") == 2


def test_a_stager_that_runs_twice_says_each_line_once_a_run(tmp_path):
    settings = {"save": True, "plot": False, "save_dir": str(tmp_path), "sim_name": "one"}
    stager = StageSNNSimulation(tiny(settings=settings), backend="numpy")
    stager.execute()
    stager.execute()
    lines = (tmp_path / "one" / "metadata" / "run.log").read_text().splitlines()
    assert sum(": ran in" in line for line in lines) == 2
    assert sum(": wrote" in line for line in lines) == 2


def test_the_example_script_runs(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "example", ROOT / "examples" / "spiking_net_test_simulation.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    found = module.main(duration_sec=0.05)
    assert found["active_hz"] > found["inactive_hz"]
    assert (tmp_path / "simulations" / "test_sim" / "plots" / "spike_raster.png").is_file()
