"""Fairness over time: sums of a window of records, gaps over windows, and alarms that may be looked for every week.

    window_cells     one window's rows to sums per label and group that merge and hold no rows (windows.py)
    gap_series       windows to gaps of a group to everyone else with a known level, with variance and state (series.py)
    sequences        e-processes and confidence sequences of a running gap, e-values of single windows (sequences.py)
    betting          an e-process that is valid with any number of patients (betting.py)
    watch            one e-value path, interval path and verdict per series, combined by e-BH (alarms.py)
    moved            what moved in a cell: prevalence, scores, threshold, error rate (moved.py)
    prediction-powered   rates where few labels came, and a marked hint where none did (prediction_powered.py)
    power            the smallest change of a gap that a monitor can find (power.py)

Signatures (L labels, N records, C cells, S series, T windows in order of time):

    windows.window_cells(scores (L, N) float32 in [0, 1] or NaN, labels (L, N) int8 in 1, 0, -1, groups: Sequence of
                 Grouping, patients (N,) int64, thresholds (L,), *, label_names=None, returning=None) -> WindowCells
                 ``returning`` (N,) bool: the record's patient was seen in an earlier window. Without it, patients who
                 come back are taken for new ones, and false alarms rise (README.md)
    windows.WindowCells: label_names (L,), attributes ((attribute, groups), ...), thresholds (L,), arrays of sums;
                 .to_dict() / WindowCells.from_dict(plain); .cells -> ((attribute, group), ...) in row order
    patients.count_patients(groups, patients, returning).returning  the same count for a window that is closed already:
                 dataclasses.replace(window, returning=...)
    windows.merge(a, b) -> WindowCells              windows of disjoint patients
    series.Series(label, metric, attribute, group)  the key of a series; all four are str
    series.gap_series(windows, metrics=("tpr", "fpr")) -> GapSeries with .keys and (S, T) arrays gap, variance, value,
                 rest_value, positives (the denominator), patients, state (int8 into cells.STATES)
    alarms.Reference(keys, value (S,), variance (S,)); alarms.reference_of(windows, metrics=...) -> Reference
    alarms.watch(windows, reference=None, *, alpha=0.05, horizon=52, metrics=("tpr", "fpr")) -> Verdicts
    alarms.Verdicts: keys, (S, T) e_values, estimate, lower, upper, gap, state; (S,) alarmed_at (-1: never), since,
                 patients; .alarms() -> tuple of Alarm(series, window, since, size, lower, upper, recent, e_value, arm,
                 patients), .verdict(key) -> Verdict
    moved.what_moved(reference, current, key) -> Moved(components, causes, distance); both are one WindowCells
                 (moved.merge_windows makes one of several)
    prediction_powered.ppi_rates(scores, labels, patients, threshold), .ppi_by_group, .ppi_sequence;
                 .cbpe(scores, threshold) -> Hint (hint=True, never an alarm)
    power.minimum_detectable_gap(positives, rest_positives, windows, *, alpha=0.05, power=0.8, design_effect=1.0,
                 rate=0.8, series=1) -> Detectable(gap, reachable)
"""
