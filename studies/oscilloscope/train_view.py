"""What is seen of a training: console rows, warnings, snapshots, the video of its epochs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import RunOptions
from bridge.runs.groups_train import TrainingPictureOptions
from studies.oscilloscope import learning as shared

if TYPE_CHECKING:
    from bridge.recording import Recording
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import Job
    from train_torch.network.networks import SpikingNetwork

log = logging.getLogger("pingbridge")


class TrainingView:
    """Console rows, snapshots, and the pictures or the video of the epochs."""

    def __init__(self, job: Job, run: RunFolder, *, n_epochs: int) -> None:
        self._job, self._run, self._n_epochs = job, run, n_epochs
        self._observe = job.resolved[TrainingPictureOptions].observe
        self._warned: list[str] = []
        self._stack = ExitStack()
        self._film = "observe.mp4"
        self._video: Any = None
        self._animation: Any = None

    def __enter__(self) -> TrainingView:
        if self._observe == "video":
            from scope.film.video import find_ffmpeg

            find_ffmpeg()  # fails now rather than after the first epoch
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def resumed(self, epochs_done: int) -> None:
        """Say what a resumed training cannot show; the film of the epochs before stays."""
        if self._observe != "video":
            return
        if (self._run.folder / self._film).exists():
            self._film = f"observe_from_{epochs_done + 1}.mp4"
        log.warning("%s begins with epoch %d", self._film, epochs_done + 1)

    def measure(self, recording: Recording) -> dict[str, Any]:
        """Return rate_e, rate_i, cv, act and f0 of the reference trial."""
        from scope.measure.summary import summarise

        job = self._job
        return summarise(
            recording, burn_in_ms=job.burn_in_ms, model=job.spec.model, psd_window_ms=None
        ).reference_metrics()

    def batches(self, n: int, *, what: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
        """Return what draws a progress bar around an iterator over `n` batches."""
        return shared.bar_over(n, what=what)

    def epoch_done(
        self, network: SpikingNetwork, recording: Recording, records: Sequence[Mapping[str, Any]]
    ) -> None:
        """Print the epoch's row and draw it."""
        epoch = len(records)
        if records:
            self._row(records)
        if self._observe is None:
            if epoch in (0, self._n_epochs) and self._job.plan.dataset != "shd":
                name = "end_d0s0.png" if epoch else "init_d0s0.png"
                self._still(network, recording, records, name)
        elif self._observe == "images":
            self._still(network, recording, records, f"observe_{epoch}.png")
        elif self._observe == "video":
            self._frame(network, recording, records)

    def _view(
        self, network: SpikingNetwork, recording: Recording, records: Sequence[Mapping[str, Any]]
    ) -> Any:
        from scope.oscilloscope.view import TrainingHistory

        return shared.trained_view(
            self._job, recording, network.weights(), frame=len(records),
            history=TrainingHistory.from_records(records),
        )  # fmt: skip

    def _still(
        self,
        network: SpikingNetwork,
        recording: Recording,
        records: Sequence[Mapping[str, Any]],
        name: str,
    ) -> None:
        from scope.files import save_figure
        from scope.oscilloscope.figure import draw_oscilloscope

        view, raster = self._view(network, recording, records), self._raster
        self._run.write(name, lambda path: save_figure(
            draw_oscilloscope(view, preset="train", raster=raster), path
        ))  # fmt: skip

    @property
    def _raster(self) -> Any:
        return self._job.resolved[RunOptions].raster

    def _frame(
        self, network: SpikingNetwork, recording: Recording, records: Sequence[Mapping[str, Any]]
    ) -> None:
        from scope.film.animation import OscilloscopeAnimation
        from scope.film.video import VideoWriter

        view = self._view(network, recording, records)
        if self._video is None:
            self._animation = OscilloscopeAnimation("train", raster=self._raster)
            fps = self._job.resolved[TrainingPictureOptions].frame_rate
            self._video = self._stack.enter_context(VideoWriter(
                self._run.path(self._film), size=self._animation.size, fps=fps
            ))  # fmt: skip
        self._video.add(self._animation.frame(view))

    def _row(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Print one line for the epoch, and each new warning."""
        from bridge.evaluation import accuracy_text
        from train_torch.network.health import MEANING, warnings_now

        last = records[-1]
        left_s = (self._n_epochs - last["ep"]) * last["elapsed_s"] / last["ep"]
        log.info(
            "epoch %*d/%d  acc %s%s  loss %s  E %s Hz  I %s Hz  CV %s  act %s %%  %5.1f s"
            "  left %s%s",
            len(str(self._n_epochs)), last["ep"], self._n_epochs, accuracy_text(last),
            f"  val {accuracy_text(last, 'val_')}" if "val_acc" in last else "",
            _number(last["loss"], ".4f"), _number(last["test_rate_e"], ".1f"),
            _number(last["test_rate_i"], ".1f"), _number(last["cv"], ".2f"),
            _number(None if last["act"] is None else 100 * last["act"], ".0f"),
            last["train_compute_s"] + last["eval_s"], _duration(left_s),
            "  *" if last["new_best"] else "",
        )  # fmt: skip
        now = warnings_now(records)
        for name in now:
            if name not in self._warned:
                log.warning("epoch %d: %s: %s", last["ep"], name, MEANING[name])
        self._warned = now


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
