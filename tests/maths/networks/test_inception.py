"""FID's Inception network: the published layers by the published names."""

from __future__ import annotations

import torch

from services.maths.networks.inception import FidInception


def test_layers_are_those_of_the_published_weights():
    network = FidInception()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert sum(p.numel() for p in network.parameters()) == 23_850_960  # with 1008 classes and no auxiliary head
    assert sum(name.endswith(".conv.weight") for name in shapes) == 94
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert shapes["Mixed_5b.branch_pool.conv.weight"] == (32, 192, 1, 1)
    assert shapes["Mixed_5d.branch3x3dbl_3.bn.running_var"] == (96,)
    assert shapes["Mixed_6a.branch3x3.conv.weight"] == (384, 288, 3, 3)
    assert shapes["Mixed_6b.branch7x7dbl_2.conv.weight"] == (128, 128, 7, 1)
    assert shapes["Mixed_6e.branch7x7_3.conv.weight"] == (192, 192, 7, 1)
    assert shapes["Mixed_7a.branch7x7x3_4.conv.weight"] == (192, 192, 3, 3)
    assert shapes["Mixed_7b.branch3x3_2a.conv.weight"] == (384, 384, 1, 3)
    assert shapes["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    assert shapes["Mixed_7c.branch_pool.conv.weight"] == (192, 2048, 1, 1)
    assert shapes["fc.weight"] == (1008, 2048)


def test_an_image_becomes_2048_features_that_do_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    network = FidInception().eval()
    images = torch.rand(2, 3, 299, 299) * 2 - 1
    with torch.inference_mode():
        both = network.features(images)
        alone = network.features(images[:1])
    assert both.shape == (2, 2048)
    assert torch.allclose(both[0], alone[0], atol=1e-5)
    assert bool((both.std(dim=0) > 0).any())
