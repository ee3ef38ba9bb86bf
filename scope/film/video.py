"""Frames to a film: raw pixels piped to ffmpeg, H.264 in an MP4 that every player shows."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from bridge.atomic import atomic_path

Pixels = NDArray[np.uint8]

_QUALITY = ("-preset", "superfast", "-crf", "20")
_THREADS = "2"
"""Fixed: the bytes of a film depend on how many threads encode it."""


@functools.cache
def find_ffmpeg() -> str:
    """Return an ffmpeg that encodes H.264: the system's, else that of imageio-ffmpeg.

    Raises
    ------
    FileNotFoundError
        If there is none; says what to install.
    """
    system = shutil.which("ffmpeg")
    if system is not None and _encodes_h264(system):
        return system
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise FileNotFoundError(
            "a video needs ffmpeg with H.264 and none was found; install ffmpeg, or "
            "pip install imageio-ffmpeg"
        ) from None


def _encodes_h264(program: str) -> bool:
    done = subprocess.run(
        [program, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
    )
    return " libx264 " in done.stdout


class VideoWriter:
    """A video that appears whole or not at all; a context manager.

    ::

        with VideoWriter(path, size=(1920, 1080), fps=10) as video:
            video.add(rgba)

    The film is H.264, yuv420p, encoded while frames are still being made. An odd width or height
    gains a white row or column (yuv420p needs even ones).

    Parameters
    ----------
    path : path
        An MP4; written under a temporary name and renamed when the block ends well.
    size : (int, int)
        Width and height of the frames, pixels.
    fps : float
        Frames per second, > 0.

    Attributes
    ----------
    n_frames : int
        Frames added so far.

    Raises
    ------
    ValueError
        For a size or frame rate that no film has, or another ending than .mp4.
    FileNotFoundError
        If there is no ffmpeg.
    """

    def __init__(self, path: str | Path, *, size: tuple[int, int], fps: float) -> None:
        self.path = Path(path)
        self.size = (int(size[0]), int(size[1]))
        self.fps = float(fps)
        if min(self.size) < 2:
            raise ValueError(f"size = {size} must be at least 2 x 2 pixels")
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps = {fps:g} must be > 0 and at most 1000")
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{self.path}: a video is written as .mp4")
        self._program = find_ffmpeg()
        self.n_frames = 0
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> VideoWriter:
        """Start the encoder."""
        with ExitStack() as stack:
            partial = stack.enter_context(atomic_path(self.path))
            self._said = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                self._command(partial), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=self._said, bufsize=0,
            )  # fmt: skip
            self._stack = stack.pop_all()
        return self

    def add(self, pixels: Pixels) -> None:
        """Append a frame.

        Parameters
        ----------
        pixels : uint8, shape (height, width, 4) or (height, width, 3)
            RGBA (its alpha is not looked at) or RGB, top row first.

        Raises
        ------
        ValueError
            For another shape or type.
        RuntimeError
            If the encoder has failed.
        """
        width, height = self.size
        if pixels.dtype != np.uint8 or pixels.shape not in ((height, width, 4), (height, width, 3)):
            raise ValueError(
                f"a frame must be uint8 of shape ({height}, {width}, 4), not {pixels.dtype} of "
                f"shape {pixels.shape}"
            )
        if pixels.shape[2] == 3:
            opaque = np.full((height, width, 4), 255, dtype=np.uint8)
            opaque[:, :, :3] = pixels
            pixels = opaque
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("frames are added inside the with block of a VideoWriter")
        rest = np.ascontiguousarray(pixels).data.cast("B")
        try:
            while rest:
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
        except BrokenPipeError:
            raise RuntimeError(f"{self.path.name}: ffmpeg stopped: {self._complaint()}") from None
        self.n_frames += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the film and put it in place; after an error, leave nothing."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        self._process = None
        if error is not None or not self.n_frames:
            process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        code = process.wait()
        complaint = self._complaint()
        if error is None and not self.n_frames:
            error = ValueError(f"{self.path.name}: a video needs at least one frame")
        elif error is None and code:
            error = RuntimeError(f"{self.path.name}: ffmpeg ended with {code}: {complaint}")
        self._stack.__exit__(type(error) if error else None, error, None)
        if error is not None and kind is None:
            raise error

    def _command(self, target: Path) -> list[str]:
        width, height = self.size
        even = "pad=ceil(iw/2)*2:ceil(ih/2)*2:color=white"
        return [
            self._program, "-hide_banner", "-loglevel", "error", "-nostdin", "-y",
            "-f", "rawvideo", "-pixel_format", "rgba", "-video_size", f"{width}x{height}",
            "-framerate", f"{self.fps:.6g}", "-i", "pipe:0",
            "-an", "-vf", even, "-c:v", "libx264", *_QUALITY, "-threads", _THREADS,
            "-pix_fmt", "yuv420p", "-movflags", "+faststart",
            # Neither dates nor versions: the same frames make the same file.
            "-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1",
            "-f", "mp4", str(target.absolute()),
        ]  # fmt: skip

    def _complaint(self) -> str:
        try:
            self._said.seek(0)
        except ValueError:  # closed
            return "silent"
        said = self._said.read().decode(errors="replace")
        return " | ".join(said.strip().splitlines()[-3:]) or "silent"


def read_video(path: str | Path) -> Pixels:
    """Return every frame of a video, uint8, shape (frame, height, width, 3).

    Raises
    ------
    ValueError
        If it can't be decoded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    width, height = video_size(path)
    done = subprocess.run(
        [find_ffmpeg(), "-v", "error", "-nostdin", "-i", str(path.absolute()),
         "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode or done.stderr:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ValueError(f"{path}: not a video that can be decoded ({' '.join(said)})")
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def video_size(path: str | Path) -> tuple[int, int]:
    """Return width and height of a video, pixels."""
    import re

    done = subprocess.run(
        [find_ffmpeg(), "-hide_banner", "-nostdin", "-i", str(Path(path).absolute())],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    found = re.search(r"Video: .*?, (\d+)x(\d+)[ ,]", done.stderr)
    if found is None:
        raise ValueError(f"{path}: holds no video")
    return int(found[1]), int(found[2])
