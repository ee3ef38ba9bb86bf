"""One way to run any Brian2 network: the only place that touches Brian2's global device.

Targets
-------
``numpy``   Brian2 in the Python process, nothing to compile.
``cython``  the same with compiled loops; each new kind of loop is compiled once per user.
``cpp``     a C++ program of its own, cached by its generated code and re-run with new values.
``cuda``    the same for an NVIDIA GPU, through brian2cuda.
``auto``    the cheapest of those that can run here, compilation included (see
            :mod:`sim_brian.cost`).

Compiler flags that change arithmetic are off unless asked for (`fast_math`): no ``-ffast-math``,
no contraction of products and sums. The same network then gives the same spikes on every target.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.cache import cache_root
from sim_brian import cost, toolchain
from sim_brian.brian import load_brian2
from sim_brian.circuit import Model, RawRun

log = logging.getLogger("pingbridge")

_DEVICE = threading.RLock()
"""Brian2's device and preferences are global to the process."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How to run.

    Parameters
    ----------
    target : {"auto", "numpy", "cython", "cpp", "cuda"}
    fast_math : bool
        Let the compiler reorder arithmetic: faster, and no longer the same spikes bit for bit.
    jobs : int or None
        Parallel compiler calls; None means one for each core.
    n_runs : int
        How many runs of the same network are planned; `auto` spreads the compilation over them.
    progress : callable of float, or None
        Called with the completed fraction during long runs.
    """

    target: str = "auto"
    fast_math: bool = False
    jobs: int | None = None
    n_runs: int = 1
    progress: Callable[[float], None] | None = None

    def __post_init__(self) -> None:
        if self.target not in toolchain.TARGETS:
            raise ValueError(
                f"--codegen {self.target} is unknown; use one of {', '.join(toolchain.TARGETS)}"
            )
        if self.fast_math and self.target == "numpy":
            raise ValueError("--fast-math is a compiler flag; it can't apply to --codegen numpy")


class Program:
    """A model made ready on one target; :meth:`run` may be called many times."""

    def __init__(self, model: Model, target: str, options: EngineOptions) -> None:
        self.target = target
        self._options = options
        self._model = model
        self._inner: Any
        if target in ("cpp", "cuda"):
            from sim_brian.standalone import StandaloneProgram

            with _device(target, fast_math=options.fast_math) as flags:
                self._inner = StandaloneProgram(
                    model, target, flags=flags, jobs=options.jobs or os.cpu_count() or 1
                )
            self._remember(self._inner.key)
        else:
            from sim_brian.runtime import RuntimeProgram

            known = cost.is_compiled(target, model.structure(), fast_math=options.fast_math)
            self._inner = RuntimeProgram(model, target, compiled=not known)

    def run(self, values: Mapping[str, Any] | None = None) -> RawRun:
        """Run once.

        Parameters
        ----------
        values : mapping, optional
            ``group.variable`` to value; what is absent is taken from the model's own values.

        Raises
        ------
        RuntimeError
            If a compiled program fails.
        """
        full = dict(self._model.values()) | dict(values or {})
        if self.target in ("cpp", "cuda"):
            return self._inner.run(full, progress=self._options.progress)
        with _device(self.target, fast_math=self._options.fast_math):
            raw: RawRun = self._inner.run(full, progress=self._options.progress)
        if self.target == "cython":
            self._remember("")
        return raw

    def _remember(self, key: str) -> None:
        cost.remember(
            self.target, self._model.structure(), fast_math=self._options.fast_math, key=key
        )

    def close(self) -> None:
        """Give back what the program holds on disk."""
        self._inner.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_program(model: Model, options: EngineOptions | None = None) -> Program:
    """Return `model` made ready on the target that the options name or `auto` chooses.

    A target that can't run here falls back to numpy with one line that says why; ``cuda`` does
    not fall back, since nobody who asks for a GPU wants a run in NumPy.

    Raises
    ------
    ValueError
        For a target that is unknown or, for ``cuda``, not available.
    """
    options = options or EngineOptions()
    return Program(model, choose_target(model, options), options)


def run_model(model: Model, options: EngineOptions | None = None) -> RawRun:
    """Make `model` ready, run it once with its own values, and return what happened."""
    with open_program(model, options) as program:
        return program.run()


def choose_target(model: Model, options: EngineOptions) -> str:
    """Return the target to use, logging one line where it was not simply the one asked for."""
    if options.target == "auto":
        choice = cost.choose(
            model.workload,
            model.structure(),
            n_runs=options.n_runs,
            fast_math=options.fast_math,
        )
        log.info("codegen: %s (auto: %s)", choice.target, choice.reason)
        return choice.target
    missing = toolchain.missing_for(options.target)
    if missing is None:
        return options.target
    if options.target == "cuda" or options.fast_math:
        raise ValueError(missing)
    log.warning("%s; running with --codegen numpy instead", missing)
    return "numpy"


@contextlib.contextmanager
def _device(target: str, *, fast_math: bool) -> Iterator[tuple[str, ...]]:
    """Activate a Brian2 device and its preferences, and put everything back afterwards.

    Yields the texts that, besides the generated code, decide what a compiled program does.
    """
    brian2 = load_brian2()
    from brian2 import prefs
    from brian2.devices import get_device, reset_device, set_device

    with _DEVICE:
        if type(get_device()).__name__ != "RuntimeDevice":
            raise ValueError(
                "another Brian2 standalone project is active in this process; end it first "
                "(brian2.devices.reset_device())"
            )
        if target == "cuda":
            import brian2cuda  # noqa: F401  # registers the device and its preferences
        settings = _preferences(target, fast_math, prefs)
        before = {name: prefs[name] for name in settings}
        try:
            for name, value in settings.items():
                prefs[name] = value
            if target in ("numpy", "cython"):
                yield ()
            else:
                # Names of generated code count up past those of objects that are still alive, and
                # Brian2's objects form cycles: without this the same network would not have the
                # same code twice in one process.
                gc.collect()
                set_device(f"{target}_standalone", build_on_run=False)
                get_device().reinit()
                get_device().activate(build_on_run=False)
                try:
                    yield (
                        brian2.__version__,
                        repr(sorted(settings.items())),
                        toolchain.compiler_fingerprint(),
                    )
                finally:
                    get_device().reinit()
                    reset_device()
        finally:
            for name, value in before.items():
                prefs[name] = value


def _preferences(target: str, fast_math: bool, prefs: Any) -> dict[str, Any]:
    """Return the Brian2 preferences of a target."""
    import numpy as np

    # A user's preference files must not change what a network computes.
    pinned: dict[str, Any] = {
        "core.default_float_dtype": np.float64,
        "core.network.default_schedule": [
            "start", "groups", "thresholds", "synapses", "resets", "end",
        ],
        "codegen.cpp.extra_compile_args": None,
        "devices.cpp_standalone.openmp_threads": 0,
    }  # fmt: skip
    # Brian2's own optimiser reassociates sums and turns divisions around: no longer the arithmetic
    # of the update order.
    found = pinned | {"codegen.loop_invariant_optimisations": fast_math}
    if target in ("numpy", "cython"):
        found["codegen.target"] = target
    if target == "numpy":
        return found
    if target == "cython":
        found["codegen.runtime.cython.cache_dir"] = str(cache_root() / "cython")
    host = list(prefs["codegen.cpp.extra_compile_args_gcc"])
    if not fast_math:
        host = [f for f in host if f not in ("-ffast-math", "-fno-finite-math-only")]
        host.append("-ffp-contract=off")
    found["codegen.cpp.extra_compile_args_gcc"] = host
    if target == "cuda":
        # The headers of current CUDA toolkits need C++17, for nvcc and for the host compiler.
        found["codegen.cpp.extra_compile_args_gcc"] = [
            "-std=c++17" if f.startswith("-std=") else f for f in host
        ]
        backend = "devices.cuda_standalone.cuda_backend."
        found[f"{backend}extra_compile_args_nvcc"] = [
            "-w", "-use_fast_math" if fast_math else "-fmad=false", "-std=c++17",
            "-include", "thrust/pair.h",
        ]  # fmt: skip
        if not toolchain.gpu_names():
            found |= {
                f"{backend}detect_gpus": False,
                f"{backend}gpu_id": 0,
                f"{backend}compute_capability": 9.0,
                f"{backend}cuda_runtime_version": 13.0,
                f"{backend}detect_cuda": toolchain.nvcc() is not None,
            }
    return found
