"""The one owner of a run folder: every file of a run by its name, and who may write there.

Nothing is looked for in a folder: preset, parameters, seed and options of a run say what it writes,
and those of the run that was there before say what that one left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.atomic import to_json_text, write_text
from bridge.files.json_text import read_json
from bridge.lateral_line.comparison import MATCH_TOLERANCE
from bridge.lateral_line.earlier import PARAMS_FILE, is_run, read_earlier, run_options
from bridge.lateral_line.plan import Plan
from bridge.lateral_line.training_state import OF_THE_SCHEDULE, differences
from studies.stored import job_key

CONTROL_TRIALS = 10
"""Trials that a companion control runs before its test: its weights stand still, and what cells
remember of earlier trials is gone long before."""

SUMMARY_FILE = "run_summary.json"
KEY = "result_key"
"""Entry of a seed's numbers that says what decided them."""


@dataclass(frozen=True)
class Owner:
    """A plan, and the folder that belongs to it.

    Attributes
    ----------
    plan : Plan
    folder : Path
        Absolute, as `copies`: a compiled run changes the working directory.
    copies : Path or None
        Folder that gets a copy of the weight files.
    """

    plan: Plan
    folder: Path
    copies: Path | None

    @classmethod
    def of(cls, plan: Plan, folder: Path | None = None) -> Owner:
        """Return the owner of the folder that a plan names, or of another one."""
        copies = plan.options.save_weights_dir
        return cls(
            plan,
            (plan.folder if folder is None else folder).absolute(),
            None if copies is None else copies.absolute(),
        )

    # ---- files by name ----

    def weights(self, seed: int) -> Path:
        """Return the weight file of a seed."""
        return self.folder / "artifacts" / f"{self.plan.options.save_tag}_seed_{seed}.npz"

    def sidecar(self, seed: int) -> Path:
        """Return the description beside the weight file."""
        return self.folder / "artifacts" / f"{self.plan.options.save_tag}_seed_{seed}_params.json"

    def numbers(self, seed: int) -> Path:
        """Return the file of the numbers of a seed."""
        return self.folder / "artifacts" / f"seed_{seed}_results.json"

    def state(self, seed: int) -> Path:
        """Return the state of training of a seed."""
        return self.folder / "artifacts" / f"seed_{seed}_checkpoint.npz"

    def figures(self, seed: int) -> dict[str, Path]:
        """Return the figures of a seed by the start of their names."""
        return self._figures(f"_seed_{seed}")

    def copies_of_figures(self) -> list[tuple[Path, Path]]:
        """Return source and target of each copy: the first seed's figures under further names."""
        if not self.plan.options.figures:
            return []
        from scope.figures.lateral_line.figures import THESIS_COPIES

        first, plain = self.figures(self.plan.seeds[0]), self._figures("")
        found = [(first[base], plain[base]) for base in first]
        if self.plan.options.preset == "ll_thesis":
            found += [(first[base], self.folder / "figures" / name)
                      for base, name in THESIS_COPIES.items()]  # fmt: skip
        return found

    def figures_of_all(self) -> dict[str, Path]:
        """Return the figures over seeds and distances that the run has, by what they show."""
        options, folder = self.plan.options, self.folder / "figures"
        found = {}
        if options.figures and options.multi_seed > 1:
            found["seeds"] = folder / f"brian2_multiseed_summary_n{options.multi_seed}.png"
        elif options.figures and (
            options.with_control or options.control_matched or options.test_repeats > 1
        ):
            found["comparison"] = folder / "map_quality_comparison.png"
        if options.figures and options.test_distances:
            found["distances"] = folder / "distance_generalisation.png"
        return found

    def copies_of_weights(self, seed: int) -> list[tuple[Path, Path]]:
        """Return source and target of each copy in --save-weights-dir."""
        if self.copies is None:
            return []
        return [(one, self.copies / one.name) for one in (self.weights(seed), self.sidecar(seed))]

    def of_seed(self, seed: int) -> list[Path]:
        """Return every file that a seed leaves in the folder once it is finished."""
        found = [self.weights(seed), self.sidecar(seed), self.numbers(seed)]
        if self.plan.options.evaluate is None and self.plan.params.n_training_trials:
            found.append(self.state(seed))
        return found + list(self.figures(seed).values())

    def files(self) -> list[Path]:
        """Return every file that the run leaves, besides those that every run folder has."""
        return [
            self.folder / PARAMS_FILE, self.folder / SUMMARY_FILE,
            *(path for seed in self.plan.seeds for path in self.of_seed(seed)),
            *(target for _, target in self.copies_of_figures()), *self.figures_of_all().values(),
        ]  # fmt: skip

    def _figures(self, suffix: str) -> dict[str, Path]:
        if not self.plan.options.figures:
            return {}
        from scope.figures.lateral_line.figures import FIGURES, figure_name

        return {
            base: self.folder / "figures" / figure_name(base, self.plan.params, suffix)
            for base in FIGURES
        }

    # ---- numbers of a seed ----

    def key(self, seed: int) -> str:
        """Return a hash of everything that decides the numbers of a trained seed."""
        options = self.plan.options
        params = self.plan.of_seed(seed).to_json()
        del params["checkpoint_save_every_n_checkpoints"]
        return job_key({
            "params": params, "fast_math": options.fast_math,
            "test_repeats": options.test_repeats,
            "control_matched": MATCH_TOLERANCE if options.control_matched else None,
            # Numbers of an earlier version lack some: such a seed is tested again.
            "numbers": 2,
            "control_trials": CONTROL_TRIALS if options.with_control else None,
            "distances_cm": list(options.test_distances or ()),
        })  # fmt: skip

    def write_numbers(self, seed: int, row: dict[str, Any]) -> None:
        """Write the numbers of a seed; the last of its files: they tell that it is finished."""
        write_text(self.numbers(seed), to_json_text({**row, KEY: self.key(seed)}))

    def finished(self, seed: int) -> dict[str, Any] | None:
        """Return the numbers of a seed that this run need not run again, else None."""
        if self.plan.options.evaluate is not None:
            return None  # the weights that were tested may be others by now
        try:
            row = read_json(self.numbers(seed))
        except (OSError, ValueError):
            return None
        whole = all(path.is_file() for path in self.of_seed(seed))
        return row if whole and isinstance(row, dict) and row.get(KEY) == self.key(seed) else None

    # ---- whose folder it is ----

    def admit(self) -> bool:
        """Refuse a folder where this run would take something away; tell if it goes on there.

        Raises
        ------
        ValueError
            Naming what differs, and what to type instead.
        """
        run_options(self.folder, instead="choose another --run-name, or --runs-dir")
        if not is_run(self.folder):
            return False
        before = read_earlier(self.folder)
        source = self.plan.options.resume_from
        in_place = source is not None and source.resolve() == self.folder.resolve()
        held = Owner.of(before, self.folder).held(numbers_only=in_place)
        lost = _lost(before, self.plan, resumes=in_place) if held else []
        if not lost:
            return True
        shown = f"{self.folder} holds other results ({'; '.join(lost)}); choose another --run-name"
        trained = before.options.evaluate is None and self.plan.options.evaluate is None
        if trained and source is None:
            shown += f", or go on with that run: --resume-from {self.folder}"
        raise ValueError(shown)

    def held(self, *, numbers_only: bool) -> bool:
        """Return whether the folder holds results of this plan: numbers, or weights and states."""
        kinds = [self.numbers] if numbers_only else [self.numbers, self.weights, self.state]
        return any(path(seed).is_file() for seed in self.plan.seeds for path in kinds)


def _lost(before: Plan, now: Plan, *, resumes: bool) -> list[str]:
    """Return in words what of an earlier run would be replaced by something else, or by less.

    A training that is resumed in place may grow: more trials, seeds, distances, a control.
    """
    a, b = before.options, now.options
    if (a.evaluate is None) != (b.evaluate is None):
        kinds = ["a training" if one.evaluate is None else "a test of weights" for one in (a, b)]
        return [f"{kinds[0]} there, {kinds[1]} here"]
    may_differ = {
        "seed",
        *(OF_THE_SCHEDULE if resumes else OF_THE_SCHEDULE - {"n_training_trials"}),
    }
    found = differences(before.params.to_json(), now.params.to_json(), but=frozenset(may_differ))
    fixed = ("preset", "save_tag", "fast_math", "restore_initial_ll_mon")
    found += differences({n: getattr(a, n) for n in fixed}, {n: getattr(b, n) for n in fixed})
    if a.evaluate is not None and b.evaluate is not None:
        paths = [os.path.abspath(one) for one in (a.evaluate, b.evaluate)]
        found += differences({"weights": paths[0]}, {"weights": paths[1]})
    found += [f"{name} there, not here" for name, missing in (
        ("control", a.with_control and not b.with_control),
        ("matched control", a.control_matched and not b.control_matched),
        ("test repeats", a.test_repeats > b.test_repeats),
        ("figures", a.figures and not b.figures),
        ("seeds", set(before.seeds) - set(now.seeds)),
        ("distances", set(a.test_distances or ()) - set(b.test_distances or ())),
    ) if missing]  # fmt: skip
    return found
