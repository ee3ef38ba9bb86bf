"""The kernel ``function`` on a GPU: the launches of a whole sequence as one CUDA graph.

A step of a layer is some thirty small kernels; launched one by one, a GPU waits for the host most
of the time. A CUDA graph records the launches of all steps once, and then starts them together. The
first result of a graph is held against the run that it was recorded from; where they differ, where
recording fails, or where a trajectory is still waiting for its way back, the steps run one by one.

Each layer of each shape is recorded once. Inputs are copied into the memory of its graph, results
out of it.
"""

from __future__ import annotations

import dataclasses
import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from train_torch.kernels.layer import (
    MATRICES,
    LayerCall,
    LayerGradients,
    LayerRun,
    LayerSettings,
    Matrices,
    Trajectory,
)
from train_torch.kernels.plain import PlainKernel, input_raster

log = logging.getLogger("pingbridge")

Recorder = Callable[[Callable[[], Any]], tuple[Any, Callable[[], None]]]
"""Takes work that reads and writes fixed memory; returns its results, and what repeats it."""


def cuda_graph(work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """Return results of `work` in the memory of a CUDA graph, and the graph's replay.

    Source: torch.cuda.CUDAGraph; work is run once before, on a stream of its own, as it asks for.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = work()
    return results, graph.replay


class GraphKernel:
    """A layer in torch whose launches are recorded; see :mod:`train_torch.kernels.layer`.

    Parameters
    ----------
    recorder : callable
        :func:`cuda_graph`.
    at_most : int
        Graphs that are held; those that were not used for the longest time go.
    """

    name = "function"

    def __init__(self, recorder: Recorder = cuda_graph, at_most: int = 8) -> None:
        self._plain = PlainKernel()
        self._recorder, self._at_most = recorder, at_most
        self._sessions: OrderedDict[Any, _Session] = OrderedDict()
        self._refused = False

    @torch.no_grad()
    def forward(self, call: LayerCall, *, learns: bool) -> tuple[LayerRun, Trajectory | None]:
        """Run all steps."""
        raster = input_raster(call)
        given = _tensors(call, raster)
        key = _key(call.settings, given, learns)
        session = self._sessions.get(key)
        if self._refused or (session is not None and session.is_waiting()):
            return self._plain.run(call, raster, learns=learns)
        if session is None:
            session = self._record(call.settings, given, learns)
            if session is None:
                return self._plain.run(call, raster, learns=learns)
            self._sessions[key] = session
            while len(self._sessions) > self._at_most:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(key)
        return session.forward(given)

    @torch.no_grad()
    def backward(
        self, call: LayerCall, trajectory: Trajectory, grads: LayerGradients
    ) -> tuple[Tensor | None, Matrices]:
        """Return the gradients of the drive and of the matrices."""
        session = trajectory.parts.get("session")
        if session is None:
            return self._plain.backward(call, trajectory, grads)
        try:
            found: tuple[Tensor | None, Matrices] = session.backward(grads)
        except RuntimeError as error:
            self._refuse(error)
            raster = input_raster(call)
            _, again = self._plain.run(call, raster, learns=True)
            assert again is not None
            return self._plain.run_back(call, raster, again, grads)
        return found

    def _record(
        self, settings: LayerSettings, given: dict[str, Tensor], learns: bool
    ) -> _Session | None:
        try:
            return _Session(self._plain, self._recorder, settings, given, learns)
        except RuntimeError as error:
            self._refuse(error)
            return None

    def _refuse(self, error: Exception) -> None:
        self._refused = True
        log.warning(f"no CUDA graphs, steps are launched one by one: {str(error).splitlines()[0]}")


class _Session:
    """A layer of one shape in fixed memory."""

    def __init__(
        self,
        plain: PlainKernel,
        recorder: Recorder,
        settings: LayerSettings,
        given: dict[str, Tensor],
        learns: bool,
    ) -> None:
        self._plain, self._recorder, self._learns = plain, recorder, learns
        self._given = {name: x.clone() for name, x in given.items()}
        held = self._given
        fixed = dataclasses.replace(
            settings, v_start_exc=held["v_start_exc"], v_start_inh=held.get("v_start_inh"),
            external=held.get("external"), events=None,
        )  # fmt: skip
        self._call = LayerCall.of(fixed, held.get("drive"), *(held.get(n) for n in MATRICES))
        self._backs: dict[Any, tuple[dict[str, Tensor], Any, Callable[[], None]]] = {}
        self._trajectory: weakref.ref[Trajectory] | None = None
        expected = self._work()[0]
        (self._run, self._kept), self._replay = recorder(self._work)
        self._replay()
        if not torch.equal(expected.counts_exc, self._run.counts_exc):
            raise RuntimeError("a graph's spikes differ from those it was recorded from")

    def _work(self) -> tuple[LayerRun, Trajectory | None]:
        return self._plain.run(self._call, self._given.get("raster"), learns=self._learns)

    def is_waiting(self) -> bool:
        """Return whether the memory holds a trajectory whose way back may still come."""
        held = None if self._trajectory is None else self._trajectory()
        return held is not None and not held.spent

    def forward(self, given: dict[str, Tensor]) -> tuple[LayerRun, Trajectory | None]:
        """Run all steps on other input."""
        for name, x in given.items():
            self._given[name].copy_(x)
        self._replay()
        copies: dict[str, Any] = {
            f.name: _clone(getattr(self._run, f.name)) for f in dataclasses.fields(LayerRun)
        }
        run = LayerRun(**copies)
        if not self._learns:
            return run, None
        trajectory = Trajectory(parts={"session": self})
        self._trajectory = weakref.ref(trajectory)
        return run, trajectory

    def backward(self, grads: LayerGradients) -> tuple[Tensor | None, Matrices]:
        """Return the gradients of the last forward pass."""
        arriving = {
            name: x for name in ("spikes", "counts", "out")
            if (x := getattr(grads, name)) is not None
        }  # fmt: skip
        key = (*arriving, grads.wanted)
        if key not in self._backs:
            held = {name: x.clone() for name, x in arriving.items()}
            fixed = LayerGradients(
                spikes=held.get("spikes"), counts=held.get("counts"), out=held.get("out"),
                wanted=grads.wanted,
            )  # fmt: skip
            made, replay = self._recorder(lambda: self._back(fixed))
            self._backs[key] = held, made, replay
        held, made, replay = self._backs[key]
        for name, x in arriving.items():
            held[name].copy_(x)
        replay()
        for_drive, matrices = made
        return _clone(for_drive), {name: _clone(x) for name, x in matrices.items()}

    def _back(self, grads: LayerGradients) -> tuple[Tensor | None, Matrices]:
        assert self._kept is not None
        # The way back takes records out of its list; the graph's own must stay.
        trajectory = Trajectory(parts={
            name: list(part) for name, part in self._kept.parts.items()
        })  # fmt: skip
        return self._plain.run_back(self._call, self._given.get("raster"), trajectory, grads)


def _tensors(call: LayerCall, raster: Tensor | None) -> dict[str, Tensor]:
    """Return by name all that a layer reads."""
    settings = call.settings
    found = {
        "raster": raster, "drive": call.drive, "external": settings.external,
        "v_start_exc": settings.v_start_exc, "v_start_inh": settings.v_start_inh, **call.w,
    }  # fmt: skip
    return {name: x for name, x in found.items() if x is not None}


def _key(settings: LayerSettings, given: dict[str, Tensor], learns: bool) -> Any:
    """Return what must be equal for one graph to serve two layers."""
    shapes = tuple((n, tuple(x.shape), x.dtype, str(x.device)) for n, x in sorted(given.items()))
    numbers = (
        settings.exc, settings.inh, settings.n_steps, settings.bias_us, settings.window,
        settings.keep_spikes, settings.keeping,
    )  # fmt: skip
    return shapes, numbers, learns


def _clone(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.clone()
