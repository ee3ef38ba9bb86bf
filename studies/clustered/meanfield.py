"""``meanfield solve|landscape|bifurcation``: the theory of clustered networks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.groups_clustered import (
    MEANFIELD_BIFURCATION_GROUPS,
    MEANFIELD_LANDSCAPE_GROUPS,
    MEANFIELD_SOLVE_GROUPS,
    ActiveStateOptions,
    ClusteredOptions,
    LandscapeOptions,
    MeanFieldOptions,
    RangeOptions,
    StartOptions,
)
from studies.clustered.runs import IN_NUMPY, contents, open_folder, own_folder

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.resolve import Resolved

CONFIG = Path("configs/2_cluster_mf.yaml")

log = logging.getLogger("pingbridge")


def _open(mode: str, resolved: Resolved) -> tuple[Path, RunFolder]:
    from bridge.runs.recipes import find_recipe

    where = resolved[ClusteredOptions]
    path = find_recipe(where.config or CONFIG)
    default = Path("simulations") / mode.replace(" ", "_")
    folder = own_folder(where.save_dir, default, mode, resolved, contents(path))
    return path, open_folder(mode, folder, resolved, contents(path), config=path)


def _settings(resolved: Resolved) -> dict[str, Any]:
    options = resolved[MeanFieldOptions]
    return {"random_seed": options.random_seed, "arousal_noise": options.mf_noise}


def _copy_config(out: RunFolder, content: bytes) -> None:
    out.write("metadata/config.yaml", lambda path: path.write_bytes(content))


def solve(**given: Any) -> None:
    """Find the fixed points of a configuration from random starts, with their stability."""
    from bridge.files.npz import write_npz
    from bridge.formats.tables import write_csv
    from bridge.runs.resolve import resolve
    from studies.clustered import FullMeanFieldStager

    resolved = resolve(MEANFIELD_SOLVE_GROUPS, given)
    path, folder = _open("meanfield solve", resolved)
    stager = FullMeanFieldStager(path, **_settings(resolved))
    q = stager.network.layout.n_clusters
    wanted = resolved[ActiveStateOptions].active_clusters
    for k in wanted:
        if k > q:
            raise ValueError(f"--active-clusters {k}: there are {q} clusters")
    with folder as out:
        out.update_config(IN_NUMPY)
        found = stager.run(n_runs=resolved[StartOptions].n_runs)
        _copy_config(out, stager.config.content)
        out.write("data/outputs.npz", lambda p: write_npz(p, found))
        rows = []
        for k, nu in enumerate(found["unique_fixed_points"]):
            row = {"type": str(found["unique_type"][k]), "starts": int(found["multiplicity"][k]),
                   "leading_eigenvalue": float(found["unique_eigenvalues"][k][0].real)}  # fmt: skip
            rows.append(row | {f"rate_{p}_hz": float(rate) for p, rate in enumerate(nu)})
        n = len(found["success"])
        log.info("%d of %d starts converged to %d fixed points", found["success"].sum(), n,
                 len(rows))  # fmt: skip
        for row in rows[:20]:
            rates = " ".join(f"{row[f'rate_{p}_hz']:.3f}" for p in range(q))
            log.info("%-14s E clusters %s Hz (leading eigenvalue %.6g, %d starts)", row["type"],
                     rates, row["leading_eigenvalue"], row["starts"])  # fmt: skip
        if len(rows) > 20:
            log.info("... and %d more", len(rows) - 20)
        if rows:
            write_csv(out.path("data/fixed_points.csv"), rows)
        if wanted:
            _seek_active(out, stager.model, q, wanted)
        out.folder_of_files("plots")
        stager.plot("fixed_points", found, out.folder / "plots")
        log.info("wrote %s", out.folder)


def _seek_active(out: RunFolder, model: Any, q: int, wanted: tuple[int, ...]) -> None:
    from bridge.formats.tables import write_csv
    from bridge.mean_field.uniform_states import active_states, state_row

    rows = []
    for k in wanted:
        states = active_states(model, k)
        rows += [state_row(one, q, k) for one in states]
        if not states:
            log.info("%d active: no such state found", k)
    for row in rows:
        off = "" if row["inactive_hz"] is None else f" / {row['inactive_hz']:.3f}"
        log.info("%d active: %-14s %.3f%s Hz (leading eigenvalue %.6g)", row["n_active"],
                 row["type"], row["active_hz"], off, row["leading_eigenvalue"])  # fmt: skip
    if rows:
        write_csv(out.path("data/active_states.csv"), rows)


def landscape(**given: Any) -> None:
    """Compute the force on a few populations over a grid of their rates, and its potential."""
    from bridge.files.npz import write_npz
    from bridge.runs.resolve import resolve
    from studies.clustered import ReducedMeanFieldStager
    from studies.clustered.stage_mean_field import grid_axes

    resolved = resolve(MEANFIELD_LANDSCAPE_GROUPS, given)
    options = resolved[LandscapeOptions]
    path, folder = _open("meanfield landscape", resolved)
    stager = ReducedMeanFieldStager(path, **_settings(resolved))
    limits = list(options.grid_lims_hz)
    if len(limits) % 2 or len(limits) not in (2, 2 * len(options.focus_pops)):
        raise ValueError(
            f"--grid-lims has {len(limits)} values; give low and high once, or once for each of "
            f"the {len(options.focus_pops)} --focus-pops"
        )
    pairs: Any = limits if len(limits) == 2 else list(zip(limits[::2], limits[1::2], strict=True))
    grid_axes(len(options.focus_pops), options.grid_density_hz, pairs)
    stager.model.check_focus(options.focus_pops)
    with folder as out:
        out.update_config(IN_NUMPY)
        found = stager.run(
            focus_pops=options.focus_pops, grid_density=options.grid_density_hz, grid_lims=pairs,
            potential_rule=options.potential_rule,
        )  # fmt: skip
        _copy_config(out, stager.config.content)
        out.write("data/outputs.npz", lambda p: write_npz(p, found))
        done = found["converged"]
        log.info("%d of %d grid points converged", done.sum(), done.size)
        if "potential" in found:
            u = found["potential"]
            log.info("potential along the path: %.4g to %.4g, ends at %.4g Hz^2", u.min(), u.max(),
                     u[-1])  # fmt: skip
            out.folder_of_files("plots")
            stager.plot("landscape", found, out.folder / "plots")
        if "rotational_remainder" in found:
            log.info("part of the force that has no potential: %.1f %%",
                     100.0 * float(found["rotational_remainder"]))  # fmt: skip
        log.info("wrote %s", out.folder)


def bifurcation(**given: Any) -> None:
    """Follow the fixed points over a parameter, with the values where stability changes."""
    from bridge.formats.tables import write_csv
    from bridge.runs.resolve import resolve
    from studies.clustered.bifurcation import diagram_of

    resolved = resolve(MEANFIELD_BIFURCATION_GROUPS, given)
    options = resolved[RangeOptions]
    path, folder = _open("meanfield bifurcation", resolved)
    first, last = options.from_value, options.to_value
    if (first is None or last is None) and options.param != RangeOptions().param:
        raise ValueError(f"--param {options.param} needs --from and --to")
    first, last = 15.0 if first is None else first, 22.0 if last is None else last
    if first >= last:
        raise ValueError(f"--from {first:g} must be below --to {last:g}")
    diagram = diagram_of(
        path, options.param, options.param_idx, first, last, options.n_values,
        populations=options.populations, **_settings(resolved),
    )  # fmt: skip
    with folder as out:
        out.update_config(IN_NUMPY)
        rows = diagram.rows(n_runs=resolved[StartOptions].n_runs)
        critical = diagram.critical(tolerance=options.tolerance)
        _copy_config(out, diagram.content)
        write_csv(out.path("data/fixed_points.csv"), rows)
        out.write_json("data/critical.json", {"param": diagram.name, "critical": critical})
        for value in diagram.values:
            here = [row for row in rows if row["value"] == value]
            stable = sum(str(row["type"]).startswith("stable") for row in here)
            log.info("%s = %.6g: %d fixed points, %d stable", diagram.name, value, len(here),
                     stable)  # fmt: skip
        for value in critical:
            log.info("the uniform state changes its stability at %.6f", value)
        from scope.figures.clustered_mean_field import bifurcation_figure
        from scope.files import save_figure

        figure = bifurcation_figure(
            rows=rows, name=diagram.name, populations=diagram.populations,
            n_clusters=diagram.n_clusters, critical=critical,
        )  # fmt: skip
        out.write("plots/bifurcation.png", lambda p: save_figure(figure, p))
        log.info("wrote %s", out.folder)
