"""What is drawn from which seed: every number that is added to a run's seed, in one place.

Contacts and stimuli of a seed are those of the published program only with its sums, so these stay.
What shares what: MON to TS contacts and the training stream both begin at ``default_rng(seed)``;
the training stream of seed ``s + 999`` begins like the test stream of seed s, and that of seed
``s + 31`` like the LL to MON contacts of seed s. Poisson spikes, weights at the start,
potentials and everything of a repeated test come from seed sequences, which share nothing with
those or with each other.

Source: the random generators of the published program (LateralLine, MIT license).
"""

from __future__ import annotations

import numpy as np

MON_TS_CONTACTS = 0
TRAINING_STREAM = 0
LL_MON_CONTACTS = 31
TRACKED_SYNAPSES = 777
TEST_STREAM = 999
TEST_WHITE_NOISE = 8888

_START = 12_345
_SPIKES = 777_000
_REPEATS = 4242

SPIKES, NOISE, WHITE_NOISE = range(3)
"""What a repeated test draws anew."""


def published_rng(seed: int, offset: int) -> np.random.Generator:
    """Return the published program's generator for one of the purposes above."""
    return np.random.default_rng(seed + offset)


def start_rng(seed: int, what: int) -> np.random.Generator:
    """Return a generator for a part of the network at the start, which is not published."""
    return np.random.default_rng(np.random.SeedSequence([seed, _START, what]))


def repeat_rng(seed: int, repeat: int, what: int) -> np.random.Generator:
    """Return the generator of a further test of a seed: repeat 1, 2, ...

    Repeat 0 is the test itself, which draws from the published sums above.
    """
    assert repeat > 0
    child = np.random.SeedSequence([seed, _REPEATS], spawn_key=(repeat, what))
    return np.random.default_rng(child)


def spikes_rng(seed: int, n_before: int) -> np.random.Generator:
    """Return the generator of the Poisson spikes of a trial; `n_before` is 0 for the test."""
    return np.random.default_rng(np.random.SeedSequence([seed, _SPIKES, n_before]))
