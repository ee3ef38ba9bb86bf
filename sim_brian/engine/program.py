"""One way to run any Brian2 network: the only place that touches Brian2's global device.

Targets
-------
``numpy``   Brian2 in the Python process, nothing to compile.
``cython``  the same with compiled loops; each new kind of loop is compiled once per user.
``cpp``     a C++ program of its own, cached by its generated code and re-run with new values.
``cuda``    the same for an NVIDIA GPU, through brian2cuda.
``auto``    the cheapest of those that can run here, compilation included (see
            :mod:`sim_brian.engine.cost`).

Compiler flags that change arithmetic are off unless asked for (`fast_math`): no ``-ffast-math``,
no contraction of products and sums. The same network then gives the same spikes on every target.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.cache import cache_root, stamp_of
from sim_brian.engine import cost, toolchain
from sim_brian.engine.brian import load_brian2
from sim_brian.engine.circuit import Model, RawRun
from sim_brian.engine.cuda import toolkit as cuda_toolkit
from sim_brian.engine.executable import Executable
from sim_brian.engine.made_program import Made, read_made, save_made

log = logging.getLogger("pingbridge")

_FLOAT32_COUNTS = 2**24

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
    dtype : {"float64", "float32"}
        Of all states and weights; the latter is faster on most GPUs, and spikes differ.
    compute_capability : str or None
        What ``cuda`` compiles for, such as ``9.0``; None means the first GPU of this machine.
    program : Path or None
        Folder of a program that `pingbridge build` made: run it instead of compiling.
    progress : callable of float, or None
        Called with the completed fraction during long runs.
    """

    target: str = "auto"
    fast_math: bool = False
    jobs: int | None = None
    n_runs: int = 1
    dtype: str = "float64"
    compute_capability: str | None = None
    program: Path | None = None
    progress: Callable[[float], None] | None = None

    def __post_init__(self) -> None:
        if self.target not in toolchain.TARGETS:
            raise ValueError(
                f"--codegen {self.target} is unknown; use one of {', '.join(toolchain.TARGETS)}"
            )
        if self.fast_math and self.target == "numpy":
            raise ValueError("--fast-math is a compiler flag; it can't apply to --codegen numpy")
        if self.dtype not in ("float64", "float32"):
            raise ValueError(f"dtype {self.dtype} is unknown; use float64 or float32")
        if self.compute_capability is not None and self.target != "cuda":
            raise ValueError("--compute-capability applies to --codegen cuda only")

    @property
    def variant(self) -> str:
        """What besides the network decides the code that is compiled, for the cost estimate."""
        return f"{self.fast_math}" if self.dtype == "float64" else f"{self.fast_math} {self.dtype}"


_noting: list[set[str]] = []


@contextlib.contextmanager
def noted_targets() -> Iterator[set[str]]:
    """Give the targets that are chosen for programs inside the block, whatever the thread.

    What other processes choose for themselves is not seen.
    """
    found: set[str] = set()
    _noting.append(found)
    try:
        yield found
    finally:
        _noting[:] = [one for one in _noting if one is not found]


def _note(target: str) -> str:
    for one in list(_noting):
        one.add(target)
    return target


class Program:
    """A model made ready on one target; :meth:`run` may be called many times."""

    def __init__(self, model: Model, target: str, options: EngineOptions) -> None:
        self.target = target
        self._options = options
        self._model = model
        self._inner: Any
        if target in ("cpp", "cuda"):
            from sim_brian.engine.standalone import StandaloneProgram

            capability = None
            if target == "cuda" and options.program is None:
                capability = cuda_toolkit.choose_capability(options.compute_capability)
            with _device(
                target, fast_math=options.fast_math, dtype=options.dtype, capability=capability
            ) as flags:
                self._inner = StandaloneProgram(
                    model, target, flags=flags, jobs=options.jobs or os.cpu_count() or 1,
                    capability=capability, dtype=options.dtype, made=options.program,
                )  # fmt: skip
            if options.program is None:
                self._remember(self._inner.key)
        else:
            from sim_brian.engine.runtime import RuntimeProgram

            known = cost.is_compiled(target, model.structure(), variant=options.variant)
            self._inner = RuntimeProgram(model, target, compiled=not known)

    def run(self, values: Mapping[str, Any] | None = None, *, n_steps: int | None = None) -> RawRun:
        """Run once.

        Parameters
        ----------
        values : mapping, optional
            ``group.variable`` to value; what is absent is taken from the model's own values.
        n_steps : int, optional
            Steps of this run; default those of the model.

        Raises
        ------
        RuntimeError
            If a compiled program fails.
        """
        full = dict(self._model.values()) | dict(values or {})
        if self._options.dtype == "float32":
            _check_tables(full)
        n_steps = self._model.workload.n_steps if n_steps is None else n_steps
        progress = self._options.progress
        if self.target in ("cpp", "cuda"):
            return self._inner.run(full, n_steps=n_steps, progress=progress)
        with (
            _device(self.target, fast_math=self._options.fast_math, dtype=self._options.dtype),
            _garbage_collected_rarely() if self.target == "cython" else contextlib.nullcontext(),
        ):
            raw: RawRun = self._inner.run(full, n_steps=n_steps, progress=progress)
        if self.target == "cython":
            self._remember("")
        return raw

    def executable(self) -> Executable | None:
        """Return what other processes of this machine need to run it; None without a program.

        It holds as long as this object is open.
        """
        return self._inner.executable if self.target in ("cpp", "cuda") else None

    def save(self, folder: Path) -> Made:
        """Write the compiled program into a folder, from where it can be run without compiling.

        Raises
        ------
        ValueError
            If the target makes no program.
        """
        held = self.executable()
        if held is None:
            raise ValueError(f"--codegen {self.target} makes no program of its own")
        made = Made(
            target=self.target,
            code=self._inner.code,
            capability=held.capability,
            dtype=self._options.dtype,
            fast_math=self._options.fast_math,
            binary=stamp_of(held.program),
        )
        save_made(folder, held.project, held.program, made)
        return made

    def _remember(self, key: str) -> None:
        cost.remember(self.target, self._model.structure(), variant=self._options.variant, key=key)

    def close(self) -> None:
        """Give back what the program holds on disk."""
        self._inner.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _check_tables(values: Mapping[str, Any]) -> None:
    """Refuse lookup tables whose positions float32 can't count."""
    for name, value in values.items():
        if name.endswith(".values") and len(value) > _FLOAT32_COUNTS:
            raise ValueError(
                f"{name.removesuffix('.values')} is a table of {len(value)} values, and float32 "
                f"can't count beyond {_FLOAT32_COUNTS}; use --dtype float64, a shorter run or "
                "fewer trials"
            )


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
    if options.program is not None:
        made = read_made(options.program)
        if options.target not in ("auto", made.target):
            raise ValueError(
                f"--codegen {options.target}: the program in {options.program} is made for "
                f"--codegen {made.target}"
            )
        return _note(made.target)
    if options.target == "auto":
        choice = cost.choose(
            model.workload,
            model.structure(),
            n_runs=options.n_runs,
            fast_math=options.fast_math,
            variant=options.variant,
        )
        log.info("codegen: %s (auto: %s)", choice.target, choice.reason)
        return _note(choice.target)
    _check_random(model, options.target)
    missing = toolchain.missing_for(options.target)
    if missing is None:
        if options.target == "cuda" and not cuda_toolkit.choose_capability(
            options.compute_capability
        ):
            raise ValueError(
                "the GPU's driver does not tell its compute capability; name it: "
                f"--compute-capability {', '.join(cuda_toolkit.capabilities()) or '9.0'}"
            )
        return _note(options.target)
    if options.target == "cuda" or options.fast_math:
        raise ValueError(missing)
    log.warning("%s; running with --codegen numpy instead", missing)
    return _note("numpy")


def _check_random(model: Model, target: str) -> None:
    """Refuse a network that draws random numbers where they can't be seeded for each run."""
    if target == "cuda" and "control.seed" in model.values():
        raise ValueError(
            "--codegen cuda can't seed the random numbers of this network for each run; use "
            "--codegen cpp, cython or numpy"
        )


def build_program(model: Model, options: EngineOptions) -> Program:
    """Return `model` compiled on the target ``cpp`` or ``cuda``, for this machine or another.

    For ``cuda`` it takes a CUDA compiler, and a GPU only where no compute capability is named.

    Raises
    ------
    ValueError
        For another target, or naming what is lacking.
    """
    _check_random(model, options.target)
    if options.target == "cuda":
        missing = cuda_toolkit.missing_for_build()
        if missing is None and cuda_toolkit.choose_capability(options.compute_capability) is None:
            missing = (
                "no NVIDIA GPU was found to compile for; name the compute capability of one: "
                f"--compute-capability {', '.join(cuda_toolkit.capabilities()) or '9.0'}"
            )
    elif options.target == "cpp":
        missing = toolchain.missing_for("cpp")
    else:
        missing = f"--codegen {options.target} makes no program of its own; use cpp or cuda"
    if missing is not None:
        raise ValueError(missing)
    return Program(model, options.target, options)


@contextlib.contextmanager
def _device(
    target: str, *, fast_math: bool, dtype: str = "float64", capability: str | None = None
) -> Iterator[tuple[str, ...]]:
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
            _load_brian2cuda()
        settings = _preferences(target, fast_math, prefs, dtype=dtype, capability=capability)
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
                        *([cuda_toolkit.fingerprint()] if target == "cuda" else []),
                    )
                finally:
                    get_device().reinit()
                    reset_device()
        finally:
            for name, value in before.items():
                prefs[name] = value


@contextlib.contextmanager
def _garbage_collected_rarely() -> Iterator[None]:
    """Let objects pile up to some hundred megabytes before garbage is collected.

    What Cython leaves of each module sets off a search of all that is in memory, sympy included:
    half of the time that is not the C++ compiler's (measured on the lateral-line network).
    """
    youngest, *older = gc.get_threshold()
    gc.set_threshold(max(youngest, 100_000), *older)
    try:
        yield
    finally:
        gc.set_threshold(youngest, *older)


def _load_brian2cuda() -> None:
    """Import brian2cuda, which registers its device and preferences and has much to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import brian2cuda  # noqa: F401
    logging.getLogger("brian2.brian2cuda").setLevel(logging.ERROR)
    logging.getLogger("brian2cuda").setLevel(logging.ERROR)


def _preferences(
    target: str,
    fast_math: bool,
    prefs: Any,
    *,
    dtype: str = "float64",
    capability: str | None = None,
) -> dict[str, Any]:
    """Return the Brian2 preferences of a target."""
    import numpy as np

    # A user's preference files must not change what a network computes.
    pinned: dict[str, Any] = {
        "core.default_float_dtype": np.dtype(dtype).type,
        "core.network.default_schedule": [
            "start", "groups", "thresholds", "synapses", "resets", "end",
        ],
        "codegen.cpp.extra_compile_args": None,
        "devices.cpp_standalone.openmp_threads": 0,
    }  # fmt: skip
    if "core.stop_on_keyboard_interrupt" in prefs:  # from 2.9: a program ends early and well
        pinned["core.stop_on_keyboard_interrupt"] = False
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
    if target == "cython":
        host.append("-pipe")  # no temporary files, which would stay when it is killed
    if target == "cpp":
        # A loop over many arrays becomes vector code after a check that they don't overlap; GCC
        # gives up above ten checks, which is a handful of arrays.
        host.append("--param=vect-max-version-for-alias-checks=200")
    found["codegen.cpp.extra_compile_args_gcc"] = host
    if target == "cuda":
        found |= cuda_toolkit.preferences(host, fast_math=fast_math, capability=capability)
    return found
