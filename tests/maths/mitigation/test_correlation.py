"""The adversary: who maximises and who minimises, nominal attributes, strata, and the toy of BR-Net's authors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from services.maths.mitigation.correlation import (
    attribute_predictor,
    class_strata,
    control_stratum,
    one_hot_columns,
    squared_correlation,
)
from tests.maths.mitigation.games import play
from tests.maths.mitigation.toy import Leak, linear_probe_r2, world


def drawn(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(rows, 4)).astype(np.float32)), torch.from_numpy(rng.integers(0, 3, rows))


def test_it_is_the_square_of_pearsons_coefficient():
    predicted, group = drawn()
    (columns,) = one_hot_columns([group], [3])
    expected = np.mean([np.corrcoef(predicted[:, c], columns[:, c])[0, 1] ** 2 for c in range(3)])
    assert float(squared_correlation(predicted[:, :3], [columns])) == pytest.approx(expected, rel=1e-4)


def test_several_attributes_count_alike_however_many_levels_they_have():
    predicted, group = drawn()
    columns = one_hot_columns([group, group % 2], [3, 2])
    assert [each.shape[1] for each in columns] == [3, 1]
    alone = [squared_correlation(predicted[:, :3], columns[:1]), squared_correlation(predicted[:, 3:], columns[1:])]
    assert float(squared_correlation(predicted, columns)) == pytest.approx(float(torch.stack(alone).mean()))


def test_a_nominal_attribute_is_not_a_number():
    """A middle level that alone stands out has no correlation with the levels' numbers, and all with its own column."""
    group = torch.arange(300) % 3
    middle = (group == 1).float()
    (columns,) = one_hot_columns([group], [3])
    assert float(squared_correlation(middle[:, None], [group.float()[:, None]])) == pytest.approx(0, abs=1e-6)
    assert float(squared_correlation(middle[:, None], [columns[:, 1:2]])) == pytest.approx(1)


def test_a_permutation_of_levels_changes_nothing():
    predicted, group = drawn()
    order = torch.tensor([2, 0, 1])
    (before,), (after,) = one_hot_columns([group], [3]), one_hot_columns([order[group]], [3])
    places = torch.argsort(order)
    assert torch.allclose(
        squared_correlation(predicted[:, :3], [before]), squared_correlation(predicted[:, places], [after])
    )


def test_what_the_label_explains_is_not_a_leak_within_its_classes():
    """The attribute goes with the disease; given the disease, the score does not depend on it."""
    rng = np.random.default_rng(1)
    label = torch.from_numpy((rng.random((5000, 1)) < 0.5).astype(np.float32))
    group = torch.from_numpy((rng.random(5000) < 0.2 + 0.6 * label[:, 0].numpy()).astype(np.int64))
    score = 2 * label + torch.from_numpy(rng.normal(size=(5000, 1)).astype(np.float32))
    target = one_hot_columns([group], [2])
    assert float(squared_correlation(score, target)) > 0.1
    for strata in (class_strata(label), control_stratum(label)):
        assert float(squared_correlation(score, target, strata)) < 0.002


def test_strata_leave_unread_labels_out():
    labels = torch.tensor([[0.0, 1.0], [1.0, float("nan")], [0.0, 0.0], [float("nan"), 0.0]])
    assert class_strata(labels).int().tolist() == [[1, 0, 1, 0], [0, 0, 1, 1], [0, 1, 0, 0], [1, 0, 0, 0]]
    assert control_stratum(labels).int().tolist() == [[0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("predicted", "target", "strata"),
    [
        (torch.zeros(5, 1), torch.arange(5.0)[:, None], None),
        (torch.arange(5.0)[:, None], torch.ones(5, 1), None),
        (torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]]), None),
        (torch.arange(5.0)[:, None], torch.arange(5.0)[:, None], torch.zeros(2, 5, dtype=torch.bool)),
    ],
)
def test_where_nothing_varies_there_is_no_correlation_and_no_nan(predicted, target, strata):
    leaf = predicted.clone().requires_grad_()
    found = squared_correlation(leaf, [target], strata)
    (gradient,) = torch.autograd.grad(found, leaf)
    assert float(found.detach()) == 0
    assert torch.isfinite(gradient).all()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="predicted"):
        squared_correlation(torch.zeros(3, 2), [torch.zeros(3, 1)])
    with pytest.raises(ValueError, match="two levels"):
        one_hot_columns([torch.zeros(3, dtype=torch.int64)], [1])


@pytest.mark.parametrize("conditional", [False, True])
def test_the_leak_of_the_two_parameter_reconstructor_falls(conditional):
    seen, restorer = world(600), Leak(1.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        predictor = attribute_predictor(1, 1)
    before = linear_probe_r2(restorer(seen), seen)
    play(
        predictor,
        lambda: restorer(seen)[:, None],
        restorer,
        one_hot_columns([seen.group], [2]),
        strata=class_strata(seen.labels) if conditional else None,
        own_loss=restorer.own_loss,
    )
    assert abs(float(restorer.leak.detach())) < 0.3
    assert linear_probe_r2(restorer(seen), seen) < 0.3 * before
    assert float(restorer.gain.detach()) == pytest.approx(1, abs=0.1)


# BR-Net's toy: the blobs on the diagonal have the height of the effect, the two others that of the confounder.


def blobs(rows, rng):
    """Images (2 · rows, 1, 32, 32), labels, confounder. Controls have heights of U(1, 4), the others of U(3, 6)."""
    low = np.repeat([1.0, 3.0], rows)
    effect, confounder = (low + 3 * rng.random(2 * rows) for _ in range(2))
    at = np.arange(32)
    images = 0.01 * rng.normal(size=(2 * rows, 32, 32))
    for down, across, height in ((8, 8, effect), (24, 24, effect), (8, 24, confounder), (24, 8, confounder)):
        blob = np.exp(-((at[:, None] - down) ** 2 + (at[None] - across) ** 2) / (2 * 3.0**2))
        images += height[:, None, None] * blob
    as_tensor = (images[:, None], np.repeat([0.0, 1.0], rows)[:, None], confounder[:, None])
    return [torch.from_numpy(part.astype(np.float32)) for part in as_tensor]


class Classifier(nn.Module):
    """Features of 16 numbers and a line on top."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64, 16), nn.Tanh())
        self.head = nn.Linear(16, 1)


def distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Székely, Rizzo and Bakirov 2007."""

    def centred(points):
        d = np.linalg.norm(points[:, None] - points[None], axis=2)
        return d - d.mean(axis=0) - d.mean(axis=1)[:, None] + d.mean()

    a, b = centred(x), centred(y)
    return float(np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean())))


def trained(weight, images, labels, confounder, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, predictor = Classifier(), attribute_predictor(16, 1)
    entropy = nn.functional.binary_cross_entropy_with_logits
    play(
        predictor,
        lambda: model.features(images),
        model,
        [confounder],
        strata=control_stratum(labels),
        own_loss=lambda: entropy(model.head(model.features(images)), labels),
        weight=weight,
        steps=400,
    )
    return model


def test_features_of_controls_lose_the_confounder_of_br_nets_toy():
    """Medians of three trainings: a game's course depends on the last bits of the processor's sums."""
    rng = np.random.default_rng(7)
    images, labels, confounder = blobs(256, rng)
    fresh, true, hidden = blobs(256, rng)
    controls = true[:, 0] == 0
    found = {}
    for weight in (0.0, 3.0):
        judged = []
        for seed in (1, 2, 3):
            model = trained(weight, images, labels, confounder, seed)
            with torch.no_grad():
                features = model.features(fresh)
                accuracy = float(((model.head(features) > 0) == (true > 0)).float().mean())
            judged.append((accuracy, distance_correlation(features[controls].numpy(), hidden[controls].numpy())))
        found[weight] = np.median(judged, axis=0)
    assert found[0.0][1] > 0.5
    assert found[3.0][1] < 0.3
    # The effect alone allows 5/6, since a third of either range is the other's too; both heights together 17/18.
    assert found[0.0][0] > 0.9
    assert 0.75 < found[3.0][0] < 0.9
