"""Runs as a compiled program of its own: Brian2's C++ and CUDA standalone devices.

A network is generated once; the program behind it comes from the cache of
:mod:`sim_brian.engine.build_cache`, and every run is one call of it with new values. Each
:class:`StandaloneProgram` works in a private folder, so that processes never share a file that is
being written.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridge.cache import stamp_of
from bridge.scratch import Scratch
from sim_brian.engine import build_cache, reports, toolchain
from sim_brian.engine.circuit import Circuit, Model, RawRun
from sim_brian.engine.cuda import project as cuda_project
from sim_brian.engine.cuda import toolkit as cuda_toolkit
from sim_brian.engine.executable import ArrayFile, Executable, Generated, StartError
from sim_brian.engine.made_program import program_of, read_made
from sim_brian.engine.merged_sources import merge

log = logging.getLogger("pingbridge")

PER_UNIT = 16
"""Code objects of the time loop that one C++ file takes; more of them go into two, side by side.

Each file costs 0.4 s of reading headers (measured, benchmarks/simulate.py).
"""

_LOOPED = re.compile(r"\.add\(&?\w+, *(\w+)\)")
"""A function that is put into the time loop."""

_HOST_FILES = ("objects.cpp", "synapses_classes.cpp", "network.cpp", "run.cpp", "main.cpp")


def generate(model: Model, target: str, project: Path) -> Generated:
    """Write the source code of a model into a folder; the standalone device must be active."""
    import brian2
    from brian2.devices import get_device

    device = get_device()
    clock = brian2.Clock(dt=1 * brian2.second, name=cuda_project.CLOCK)
    circuit = model.build(clock)
    control = brian2.NeuronGroup(
        1,
        "n_steps : integer (shared, constant)\nreport : integer (shared, constant)"
        + ("\nseed : integer (shared, constant)" if circuit.random else ""),
        clock=clock,
        name="control",
    )
    network = brian2.Network([control, *circuit.objects], name="network")
    # The number of steps and the progress report are run-time values, not literals of the
    # generated code: Brian2 generates a run of no length, and the real one follows it.
    steps = device.get_array_name(control.variables["n_steps"])
    report = device.get_array_name(control.variables["report"])
    if circuit.random:
        seed = device.get_array_name(control.variables["seed"])
        device.insert_code(
            "after_network_run", f"brian::_random_generators[0].seed({seed}[0]);"
        )  # fmt: skip
    made = device.get_array_name(clock.variables["timestep"])
    device.insert_code(
        "after_network_run",
        f"network.run({steps}[0] * 1.0, {report}[0] ? report_progress : NULL, 0.5); "
        f'std::cout << "{reports.STEPS} " << {made}[0] << std::endl;',
    )
    device.insert_code("before_start", reports.WATCH_PARENT)
    network.run(
        0 * brian2.second,
        report=f'if (duration > 0) std::cout << "{reports.PROGRESS} " << completed << std::endl;',
        namespace={},
    )
    device.build(directory=str(project), compile=False, run=False, with_output=False)
    suffix = "cpp" if target == "cpp" else "cu"
    order_clocks(project / f"main.{suffix}")
    reports.watch_parent(project / f"main.{suffix}")
    files = Generated(_value_dtypes(network, circuit), *_result_files(device, circuit))
    reports.say_what_is_written(project / f"objects.{suffix}", set(files.contents))
    if target == "cpp":
        write_only(project / "objects.cpp", set(files.contents))
        names_by_reference(project / "objects.cpp")
        rarely_ask_the_time(project / "network.cpp")
        looped = set(_LOOPED.findall((project / "main.cpp").read_text()))
        n_units = 1 if len(looped) <= PER_UNIT else 2
        merge(project, _HOST_FILES, into="main.cpp", n_units=n_units, looped=looped or None)
    else:
        cuda_project.adapt(
            project, set(files.contents), nvcc=cuda_toolkit.nvcc(),
            host=toolchain.cpp_compiler(),
        )  # fmt: skip
    return files


_DECLARED = re.compile(r"(?m)^(?=[ \t]*\w+ (?:outfile_\w+|random_generator_state);)")


def write_only(source: Path, names: set[str]) -> None:
    """Take out of a generated program what writes results that nobody reads.

    Brian2 writes every array when a run ends, connectivity and weights included: more work than a
    short run itself (measured, benchmarks/scan.py). Where the text is not as expected, nothing is
    taken out.
    """
    text = source.read_text()
    begin = text.find("void _write_arrays()")
    end = text.find("// Write last run info to disk", begin)
    if begin < 0 or end < 0:
        return
    head, *blocks = _DECLARED.split(text[begin:end])
    file = re.compile(r'\.open\(results_dir \+ "([^"]+)"')
    found = [file.findall(block) for block in blocks]
    held = {name for names_of in found for name in names_of}
    if any(len(names_of) != 1 for names_of in found) or not names <= held:
        return
    kept = [block for block, (name,) in zip(blocks, found, strict=True) if name in names]
    source.write_text(text[:begin] + head + "".join(kept) + text[end:])


_NAME = re.compile(r"\bstd::string (varname|filename)(?=[,)])")


def names_by_reference(source: Path) -> None:
    """Let a generated program pass the names of its variables without copying them.

    Copies of strings, in a call for each variable, are a sixth of the compiler's work on the file.
    """
    source.write_text(_NAME.sub(r"const std::string& \1", source.read_text()))


_CLOCK_RESETS = re.compile(
    r"(?m)(?:^[ \t]*_array_\w+_timestep\[0\] = \d+;\n[ \t]*_array_\w+_t\[0\] = [^;]+;\n){2,}"
)


def order_clocks(source: Path) -> None:
    """Sort the lines of a generated program that set its clocks back.

    Brian2 writes them in the order of a set, which changes from process to process; a network of
    three clocks would be compiled up to six times.
    """

    def in_order(found: re.Match[str]) -> str:
        lines = found[0].splitlines(keepends=True)
        return "".join(sorted(a + b for a, b in zip(lines[::2], lines[1::2], strict=True)))

    source.write_text(_CLOCK_RESETS.sub(in_order, source.read_text()))


_ASKED = "            if (report_func)\n            {\n                current = std::clock();"
_PER_STEP = re.compile(
    r"\n        current = std::clock\(\);\n        elapsed_realtime = ([^;]*);\n", re.MULTILINE
)
_AFTER = "    if(!did_break_early) t = t_end;\n"


def rarely_ask_the_time(source: Path) -> None:
    """Let the loop of a generated program look at the processor's clock every 16 steps only.

    Brian2 asks it before every object of every step, for the progress report, and once more after
    each step: system calls that cost a third of a small network's run (measured with perf on the
    lateral-line network, 30 objects). Where the text is not as expected, it stays.
    """
    text = source.read_text()
    ends = _PER_STEP.findall(text)
    if text.count(_ASKED) != 1 or len(ends) != 1 or text.count(_AFTER) != 1:
        return
    rare = "if (report_func && i == 0 && (n_looked++ & 15) == 0)"
    text = text.replace(_ASKED, _ASKED.replace("if (report_func)", rare))
    text = _PER_STEP.sub("\n", text)
    last = f"    current = std::clock();\n    elapsed_realtime = {ends[0]};\n"
    text = text.replace(_AFTER, last + _AFTER)
    loop = "    bool did_break_early = false;\n"
    source.write_text(text.replace(loop, loop + "    unsigned n_looked = 0;\n", 1))


class StandaloneProgram:
    """A model as a compiled program that can be run many times without recompiling.

    Must be made while the standalone device is active (see :mod:`sim_brian.engine.program`).
    """

    def __init__(
        self,
        model: Model,
        target: str,
        *,
        flags: tuple[str, ...],
        jobs: int,
        capability: str | None = None,
        dtype: str = "float64",
        made: Path | None = None,
    ) -> None:
        begin = time.perf_counter()
        self._scratch = Scratch()
        self.project = self._scratch.path
        self._jobs = jobs
        self._cached: build_cache.Cached | None = None
        try:
            files = self._generated(model, target)
            self.code = build_cache.source_key(self.project, (), without={"makefile"})
            self.key = build_cache.source_key(self.project, flags)
            if made is not None:
                program, compiled = self._made(made, dtype=dtype), False
                capability = read_made(made).capability
            else:
                self._cached = build_cache.get_or_compile(self.key, self.project, jobs=jobs)
                program, compiled = self._cached.path, self._cached.compiled
        except BaseException:
            self.close()
            raise
        self.executable = Executable(
            project=self.project,
            program=program,
            files=files,
            target=target,
            compiled=compiled,
            prepare_s=time.perf_counter() - begin,
            capability=capability,
        )

    def _generated(self, model: Model, target: str) -> Generated:
        try:
            return generate(model, target, self.project)
        except OSError as error:
            raise RuntimeError(reports.explain_no_room(error, "source code")) from None

    def _made(self, folder: Path, *, dtype: str) -> Path:
        """Return the program in a folder, refusing one of other code than this network's."""
        made = read_made(folder)
        if made.dtype != dtype:
            raise ValueError(f"--program {folder} computes in {made.dtype}; this run in {dtype}")
        if made.code != self.code:
            raise ValueError(
                f"--program {folder} is the program of another network, or of other versions of "
                "Brian2; build it again with the options of this run"
            )
        if made.binary != stamp_of(program_of(folder)):
            raise ValueError(
                f"--program {folder}: {program_of(folder)} is not what was built there (damaged, "
                "or replaced); build it again"
            )
        return program_of(folder).resolve()

    def run(
        self,
        values: Mapping[str, Any],
        *,
        n_steps: int,
        progress: Callable[[float], None] | None = None,
    ) -> RawRun:
        """Run the compiled program once; see :meth:`Executable.run`.

        One of the cache that can't be started (a library is gone since) is compiled anew, once.
        """
        try:
            return self.executable.run(values, n_steps=n_steps, progress=progress)
        except StartError as error:
            if self._cached is None or self._cached.compiled:
                raise
            log.info("%s; compiling it again", error.reason)
        self._cached.path.unlink(missing_ok=True)
        self._cached.close()
        self._cached = build_cache.get_or_compile(self.key, self.project, jobs=self._jobs)
        self.executable = dataclasses.replace(
            self.executable, program=self._cached.path, compiled=True
        )
        return self.executable.run(values, n_steps=n_steps, progress=progress)

    def close(self) -> None:
        """Remove the private folder; the compiled program stays in the cache."""
        if self._cached is not None:
            self._cached.close()
            self._cached = None
        self._scratch.close()


def _value_dtypes(network: Any, circuit: Circuit) -> dict[str, np.dtype[Any]]:
    dtypes = {
        f"{obj.name}.{name}": np.dtype(variable.dtype)
        for obj in network.objects
        if hasattr(obj, "variables")
        for name, variable in obj.variables.items()
        if hasattr(variable, "dtype") and getattr(variable, "array", True)
    }
    for name, table in circuit.tables.items():
        dtypes[f"{name}.values"] = np.dtype(table.values.dtype)
    return dtypes


def _result_files(device: Any, circuit: Circuit) -> tuple[dict, dict, dict]:
    def file(variable: Any) -> ArrayFile:
        return ArrayFile(device.get_array_filename(variable), np.dtype(variable.dtype))

    spikes = {
        name: (file(m.variables["i"]), file(m.variables["t"])) for name, m in circuit.spikes.items()
    }
    traces = {
        name: (file(m.variables[variable]), len(m.record))
        for name, (m, variable) in circuit.traces.items()
    }
    finals = {
        name: file(group.variables[variable]) for name, (group, variable) in circuit.finals.items()
    }
    return spikes, traces, finals
