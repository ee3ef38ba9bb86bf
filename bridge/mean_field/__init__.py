"""Mean-field theory of networks of leaky integrate-and-fire cells: rates, stability, landscapes."""

from bridge.mean_field.continuation import (
    Branch,
    DiagramPoint,
    bifurcation_diagram,
    critical_value,
    trace_branch,
)
from bridge.mean_field.fixed_points import (
    classify_active_clusters,
    find_fixed_points,
    merge_solutions,
    random_starts,
    solve_runs,
)
from bridge.mean_field.landscape import (
    Landscape,
    PathPotential,
    landscape_results,
    least_squares_potential,
    path_potential,
    reduced_landscape,
)
from bridge.mean_field.model import LIFMeanField
from bridge.mean_field.siegert import Cell, siegert_rate, siegert_slopes
from bridge.mean_field.stability import FixedPoint, classify_fixed_point

__all__ = [
    "Branch",
    "Cell",
    "DiagramPoint",
    "FixedPoint",
    "LIFMeanField",
    "Landscape",
    "PathPotential",
    "bifurcation_diagram",
    "classify_active_clusters",
    "classify_fixed_point",
    "critical_value",
    "find_fixed_points",
    "landscape_results",
    "least_squares_potential",
    "merge_solutions",
    "path_potential",
    "random_starts",
    "reduced_landscape",
    "siegert_rate",
    "siegert_slopes",
    "solve_runs",
    "trace_branch",
]
