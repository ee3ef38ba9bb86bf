"""Which commands there are: each function with its help and its option groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bridge.runs.groups_clustered import (
    CLUSTERED_ANALYZE_GROUPS,
    CLUSTERED_RUN_GROUPS,
    CLUSTERED_SWEEP_GROUPS,
    MEANFIELD_BIFURCATION_GROUPS,
    MEANFIELD_LANDSCAPE_GROUPS,
    MEANFIELD_SOLVE_GROUPS,
)
from bridge.runs.groups_rate import (
    RATE_CONVERT_GROUPS,
    RATE_EVAL_GROUPS,
    RATE_PLOT_GROUPS,
    RATE_SEARCH_GROUPS,
    RATE_TRAIN_GROUPS,
)
from bridge.runs.options import Options
from bridge.runs.recipes import RECIPES_GROUPS
from studies import cache
from studies.cache import CACHE_CLEAR_GROUPS
from studies.clustered import commands as clustered
from studies.clustered import meanfield
from studies.groups import GROUPS
from studies.lateral_line.commands import lateral_line
from studies.oscilloscope.build import build
from studies.oscilloscope.crosscheck import crosscheck
from studies.oscilloscope.doctor import doctor
from studies.oscilloscope.forward import image, sim
from studies.oscilloscope.infer import infer
from studies.oscilloscope.scan import scan
from studies.oscilloscope.train import train
from studies.oscilloscope.video import video
from studies.rate_to_spike import commands as rate
from studies.recipes import recipes


class Command(NamedTuple):
    """A command: its function (whose name it bears), help text and option groups."""

    function: Callable[..., None]
    text: str
    groups: tuple[type[Options], ...]


COMMANDS = (
    Command(
        sim, "Run one forward pass and print rates, rhythm and simulation speed.", GROUPS["sim"]
    ),
    Command(
        image,
        "Run one forward pass and save an oscilloscope picture (rasters, weights, spectrum).",
        GROUPS["image"],
    ),
    Command(
        train,
        "Train a network on a dataset by surrogate gradients, and keep everything.",
        GROUPS["train"],
    ),
    Command(
        infer,
        "Evaluate trained weights on the test set, at one time step or at many.",
        GROUPS["infer"],
    ),
    Command(
        video,
        "Sweep one parameter and save a video of the oscilloscope, one frame for each value.",
        GROUPS["video"],
    ),
    Command(
        scan,
        "Run a network over many values of one or two parameters; save a table and a figure.",
        GROUPS["scan"],
    ),
    Command(
        crosscheck,
        "Run the same network in Brian2 and in torch and compare them spike for spike.",
        GROUPS["crosscheck"],
    ),
    Command(
        build,
        "Compile the program of a network, for this machine or for a GPU elsewhere; don't run it.",
        GROUPS["build"],
    ),
    Command(
        doctor,
        "Say what this machine can run, what each target needs, and how to get it.",
        GROUPS["doctor"],
    ),
    Command(
        recipes,
        "List the recipes that ship, each with its command, or print one of them.",
        RECIPES_GROUPS,
    ),
    Command(
        lateral_line,
        "Train the map of the lateral line by spike timing, test it, and draw it.",
        GROUPS["lateral-line"],
    ),
)


class CommandGroup(NamedTuple):
    """Commands that are typed after a common word, ``rate train``."""

    text: str
    commands: tuple[Command, ...]


COMMAND_GROUPS: dict[str, CommandGroup] = {
    "rate": CommandGroup(
        "Train a rate network on a cognitive task and turn it into a spiking one.",
        (
            Command(
                rate.train,
                "Train a rate network under Dale's law on a cognitive task.",
                RATE_TRAIN_GROUPS,
            ),
            Command(
                rate.search,
                "Find the scaling factor at which the spiking network solves the task best.",
                RATE_SEARCH_GROUPS,
            ),
            Command(
                rate.convert,
                "Turn a rate network into a spiking one and compare their outputs.",
                RATE_CONVERT_GROUPS,
            ),
            Command(
                rate.eval_,
                "Test a spiking network and its rate network on fresh trials.",
                RATE_EVAL_GROUPS,
            ),
            Command(
                rate.plot,
                "Draw one trial of each type: both outputs, and who fired when.",
                RATE_PLOT_GROUPS,
            ),
        ),
    ),
    "clustered": CommandGroup(
        "Clustered networks that wander between attractors.",
        (
            Command(
                clustered.run,
                "Repeat a clustered network with many seeds and analyse its attractors.",
                CLUSTERED_RUN_GROUPS,
            ),
            Command(
                clustered.perturb,
                "Repeat a clustered network with the perturbations of its configuration.",
                CLUSTERED_RUN_GROUPS,
            ),
            Command(
                clustered.sweep,
                "Run a clustered network over the values of one entry of its configuration.",
                CLUSTERED_SWEEP_GROUPS,
            ),
            Command(
                clustered.analyze,
                "Analyse saved spikes, or tell what a saved analysis holds.",
                CLUSTERED_ANALYZE_GROUPS,
            ),
            Command(
                clustered.compare,
                "Compare simulated rates with the mean field over a parameter.",
                CLUSTERED_SWEEP_GROUPS,
            ),
        ),
    ),
    "meanfield": CommandGroup(
        "Mean-field theory of clustered networks.",
        (
            Command(
                meanfield.solve,
                "Find the fixed points of a configuration, with their stability.",
                MEANFIELD_SOLVE_GROUPS,
            ),
            Command(
                meanfield.landscape,
                "Compute the force on a few populations over a grid, and its potential.",
                MEANFIELD_LANDSCAPE_GROUPS,
            ),
            Command(
                meanfield.bifurcation,
                "Follow the fixed points over a parameter.",
                MEANFIELD_BIFURCATION_GROUPS,
            ),
        ),
    ),
    "cache": CommandGroup(
        "Compiled code that is kept for the next run.",
        (
            Command(cache.show, "Say where compiled code is kept, and how much.", ()),
            Command(
                cache.clear,
                "Remove compiled code that is not in use; it is compiled again when needed.",
                CACHE_CLEAR_GROUPS,
            ),
        ),
    ),
}
"""Commands of two words, by the first one."""


def command_name(command: Command, group: str | None = None) -> str:
    """Return what is typed for a command."""
    word = command.function.__name__.rstrip("_").replace("_", "-")
    return word if group is None else f"{group} {word}"
