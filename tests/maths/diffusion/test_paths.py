import pytest
import torch

from services.maths.diffusion.paths import PATHS, embedding_path
from tests.maths.diffusion.gaussian_oracle import normal


def ends(size=512):
    return 1.3 * normal(1, size, seed=1)[0], 0.4 * normal(1, size, seed=2)[0] + 0.2


@pytest.mark.parametrize("kind", PATHS)
class TestEveryPath:
    def test_ends_are_exact_and_frames_are_counted(self, kind):
        source, target = ends()
        path = embedding_path(source, target, 180, kind=kind)
        assert path.shape == (180, 512) and path.dtype == torch.float32
        assert torch.equal(path[0], source) and torch.equal(path[-1], target)
        # In float64 there are no spare digits to round away, so exact ends are no accident of float32.
        fine = normal(2, 512, seed=3, dtype=torch.float64)
        path = embedding_path(fine[0], fine[1], 180, kind=kind)
        assert torch.equal(path[0], fine[0]) and torch.equal(path[-1], fine[1])

    def test_way_back_is_the_way_there_reversed(self, kind):
        source, target = ends()
        there, back = embedding_path(source, target, 9, kind=kind), embedding_path(target, source, 9, kind=kind)
        torch.testing.assert_close(back.flip(0), there, atol=1e-6, rtol=0)

    def test_unchanged_embedding_does_not_move(self, kind):
        source, _ = ends()
        assert torch.equal(embedding_path(source, source, 7, kind=kind), source.expand(7, -1))

    def test_two_frames_are_the_ends_and_fewer_are_refused(self, kind):
        source, target = ends()
        assert torch.equal(embedding_path(source, target, 2, kind=kind), torch.stack([source, target]))
        with pytest.raises(ValueError, match="frames must be at least 2"):
            embedding_path(source, target, 1, kind=kind)

    def test_steps_are_even(self, kind):
        source, target = ends()
        path = embedding_path(source.double(), target.double(), 50, kind=kind)
        if kind == "spherical":
            path = path / path.norm(dim=1, keepdim=True)
        pace = path.diff(dim=0).norm(dim=1)
        torch.testing.assert_close(pace, pace.mean().expand(49), rtol=1e-9, atol=0)


def test_linear_path_leaves_what_both_ends_share_to_the_bit():
    source, target = ends()
    target[:100] = source[:100]
    path = embedding_path(source, target, 180)
    assert torch.equal(path[:, :100], source[:100].expand(180, -1))
    torch.testing.assert_close(path[60], source + 60 / 179 * (target - source))


def test_spherical_path_keeps_the_length_of_equal_lengths():
    source, target = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    path = embedding_path(source, target, 3, kind="spherical")
    torch.testing.assert_close(path.norm(dim=1), torch.full((3,), 3.0))
    torch.testing.assert_close(path[1], torch.full((2,), 3.0 / 2**0.5))
    assert float(embedding_path(source, target, 3)[1].norm()) < 2.2  # the straight way cuts the corner


def test_spherical_path_changes_the_length_linearly():
    source, target = ends()
    lengths = embedding_path(source, target, 5, kind="spherical").norm(dim=1)
    torch.testing.assert_close(lengths, torch.linspace(float(source.norm()), float(target.norm()), 5))


def test_spherical_path_of_parallel_embeddings_is_straight():
    source, _ = ends()
    path = embedding_path(source, 2 * source, 3, kind="spherical")
    torch.testing.assert_close(path[1], 1.5 * source)


def test_turn_that_is_not_defined_is_refused():
    source, _ = ends()
    with pytest.raises(ValueError, match="not zero"):
        embedding_path(torch.zeros(512), source, 3, kind="spherical")
    with pytest.raises(ValueError, match="opposite"):
        embedding_path(source, -source, 3, kind="spherical")


def test_other_shapes_and_unknown_kinds_are_refused():
    source, target = ends()
    with pytest.raises(ValueError, match="of one length"):
        embedding_path(source, target[:-1], 3)
    with pytest.raises(ValueError, match="of one length"):
        embedding_path(source[None], target[None], 3)
    with pytest.raises(ValueError, match="kind must be one of linear, spherical"):
        embedding_path(source, target, 3, kind="cubic")


def test_midpoint_of_embeddings_is_not_the_embedding_of_the_midpoint():
    torch.manual_seed(0)
    embed = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64))
    with torch.no_grad():
        source, target = embed(torch.tensor([1.0, 0.0])), embed(torch.tensor([0.0, 1.0]))
        middle = embed(torch.tensor([0.5, 0.5]))
    path = embedding_path(source, target, 3)
    assert float((path[1] - middle).norm() / middle.norm()) > 0.01
