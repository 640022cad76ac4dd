"""Streams of windows with a known truth, drawn as sums: S streams of T windows of one label, metric and group."""

import numpy as np

from services.maths.fairness.drift.alarms import Reference, log_arms, log_shares
from services.maths.fairness.drift.sequences import running_change
from services.maths.fairness.drift.series import GapSeries, Series, gaps_of

POSITIVES, REST_POSITIVES = 80, 400


def keys(count, metric="tpr"):
    return tuple(Series(str(number), metric, "sex", "F") for number in range(count))


def single_records(hits, cases):
    """(..., 7) sums where every patient has one record."""
    n, d = (np.asarray(part, dtype=np.float64) for part in np.broadcast_arrays(hits, cases))
    return np.stack([n, d, n, n, d, d, np.where(d > 0, 1.0, 0.0)], axis=-1)


def stream(rng, streams, windows, *, rate=0.8, gap=0.0, cases=(POSITIVES, REST_POSITIVES), common=0.0) -> GapSeries:
    """Independent patients. ``cases`` are expected of group and rest, numbers or (S, T); ``gap`` a number or (T,);
    ``common`` the standard deviation of what moves both sides of a window alike."""
    shape = (streams, windows)
    rest_rate = np.clip(rate + common * rng.standard_normal(shape), 0.01, 0.99)
    own, rest = (rng.poisson(np.broadcast_to(part, shape)) for part in cases)
    hits = rng.binomial(own, np.clip(rest_rate + gap, 0.0, 1.0))
    return gaps_of(keys(streams), single_records(hits, own), single_records(rng.binomial(rest, rest_rate), rest))


def clustered_stream(
    rng, streams, windows, *, rate=0.8, correlation=0.4, visits=(40, 200), records=2.0, pools=None, told=True
) -> GapSeries:
    """Patients with several records that are alike (beta-binomial). With ``pools`` (two numbers) each window's patients
    come from a fixed pool, with the same rate again; ``told`` says who returns."""
    pools = pools or (None, None)
    sides = [
        _side(rng, (streams, windows), visits=v, rate=rate, correlation=correlation, records=records, pool=pool)
        for v, pool in zip(visits, pools, strict=True)
    ]
    sums, returning, visitors = zip(*sides, strict=True)
    if not told:
        return gaps_of(keys(streams), *sums)
    return gaps_of(keys(streams), *sums, returning=np.stack(returning, axis=-1), visits=np.stack(visitors, axis=-1))


def _side(rng, shape, *, visits, rate, correlation, records, pool):
    streams, windows = shape
    present = np.minimum(rng.poisson(visits, shape), pool or 10**9)
    width = int(present.max())
    mask = np.arange(width) < present[..., None]
    beta = (rate * (1 - correlation) / correlation, (1 - rate) * (1 - correlation) / correlation)
    returning = np.zeros(shape)
    if pool is None:
        own = rng.beta(*beta, (*shape, width))
    else:
        everyone, seen = rng.beta(*beta, (streams, pool)), np.zeros((streams, pool), dtype=bool)
        own = np.empty((*shape, width))
        for window in range(windows):
            chosen = rng.random((streams, pool)).argpartition(width - 1, axis=1)[:, :width]
            own[:, window] = np.take_along_axis(everyone, chosen, axis=1)
            returning[:, window] = (np.take_along_axis(seen, chosen, axis=1) & mask[:, window]).sum(axis=1)
            row, place = np.nonzero(mask[:, window])
            seen[row, chosen[row, place]] = True
    d = (rng.geometric(1 / records, (*shape, width)) if records > 1 else np.ones((*shape, width), int)) * mask
    n = rng.binomial(d, own)
    columns = [n, d, n * n, n * d, d * d, d > 0]
    sums = [column.sum(axis=-1, dtype=np.float64) for column in columns]
    return np.stack([*sums, d.max(axis=-1).astype(np.float64)], axis=-1), returning, present.astype(np.float64)


def first_alarms(gaps: GapSeries, reference: Reference | None = None, *, alpha=0.05, series=1):
    """(S,) number of windows until each stream alarms as the only drifting one among ``series``, infinite if never.

    Every stream is a monitor of its own here, where ``verdicts`` would take them for the series of one.
    """
    nothing = np.zeros(len(gaps.keys))
    value, variance = (nothing, nothing) if reference is None else (reference.value, reference.variance)
    running = running_change(gaps, value, variance)
    arms = log_arms(gaps, running, value, variance, horizon=gaps.gap.shape[1], alpha=alpha, series=series)
    together = np.logaddexp.reduce(arms + log_shares(variance)[:, :, None], axis=0)
    called = together >= np.log(series / alpha)
    return np.where(called.any(axis=1), called.argmax(axis=1) + 1.0, np.inf)


def false_alarms(gaps: GapSeries, reference: Reference | None = None) -> float:
    return float(np.isfinite(first_alarms(gaps, reference)).mean())


def reference_from(gaps: GapSeries) -> Reference:
    nothing = np.zeros(len(gaps.keys))
    running = running_change(gaps, nothing, nothing)
    return Reference(gaps.keys, running.estimate[:, -1], running.variance[:, -1])
