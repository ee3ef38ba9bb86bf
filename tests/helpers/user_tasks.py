"""What a user's own task looks like."""

from __future__ import annotations

import numpy as np

from bridge.rate_to_spike.tasks import AbstractTask, draws_from


class PulseTask(AbstractTask):
    """A pulse up or down; what is to be answered, and when, is left to others."""

    n_in = 1
    required = ("T", "stim_on", "stim_dur")
    trial_types = ("up", "down")

    def validate_settings(self):
        self._require(last_step="stim_on + stim_dur")

    def generate_stimulus(self, trial_type=None, seed=False):
        chosen = trial_type or ("up" if draws_from(seed).random() < 0.5 else "down")
        u = np.zeros((1, self.n_steps))
        u[0, self.settings["stim_on"] : self._end] = 1.0 if chosen == "up" else -1.0
        return u, chosen

    def generate_target(self, label, seed=False):
        z = np.zeros(self.n_steps - 1)
        z[self._end :] = self.expected_response(label)
        return z
