"""Any network of timm or torchvision: fitted on drawn faces, frozen by blocks, exported; weights always said."""

from dataclasses import replace

import numpy as np
import pytest

from tests.needs import needs

torch = pytest.importorskip("torch")
needs("timm")

from tests.workflow.test_training_fit import CLASSES, drawn_faces, nothing  # noqa: E402
from training.backbones import WeightsError, build, own_image_size, weights_licence  # noqa: E402
from training.data import Samples  # noqa: E402
from training.explain import grad_cam  # noqa: E402
from training.fit import fit_samples  # noqa: E402
from training.held_out import judge_images  # noqa: E402
from training.model import export_onnx  # noqa: E402
from training.recipes import ALL_BLOCKS, Recipe  # noqa: E402

SIDE = 32
BLOCKS = {
    "timm:convnext_atto": 5,
    "timm:resnet18": 5,
    "torchvision:mobilenet_v3_small": 5,
    "timm:vit_tiny_patch16_224": 13,
}
"""Stages of each, its stem counted; the attention network's are its layers."""


def plain(backbone, **changes):
    return replace(Recipe("any", backbone, "low", 1e-3, batch_size=50, image_size=SIDE, epochs=1), **changes)


def faces(count):
    images, labels = drawn_faces(count, 0, SIDE)
    return Samples(images, np.eye(2, dtype=np.float32)[labels], np.ones(count, np.float32), CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BLOCKS)
def test_a_library_s_network_is_fitted_frozen_exported_and_predicts(backbone, tmp_path):
    given, chosen = faces(200), plain(backbone, blocks_trained=1)
    torch.manual_seed(0)
    before = build(chosen, 2, "none")
    result = fit_samples(given, nothing(), chosen, tmp_path / "run", weights="none", threads=1)
    network = result.model().network
    trained = {name for name, value in before.named_parameters() if value.requires_grad}
    old, new = before.state_dict(), network.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert {name for name in changed if "running" not in name and "num_batches" not in name} <= trained
    assert any(name.startswith(f"net.{network.top}.") for name in changed) and 0 < len(trained) < len(old)
    frozen = [f"net.{name}." for part in network.parts[:-1] for name in part]
    assert frozen and not any(name.startswith(tuple(frozen)) for name in changed)  # running statistics too

    probabilities = result.probabilities(given.images)
    assert probabilities.shape == (200, 2) and np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert export_onnx(result.model(), tmp_path / "model.onnx", SIDE) < 1e-4
    assert np.isfinite(grad_cam(result.model(), given.images[:2], np.zeros(2, np.int64))).all()
    seen = judge_images(network, given.images[:8])
    assert np.isfinite(seen.embedding).all() and np.allclose(seen.members[0], probabilities[:8], atol=1e-4)


@pytest.mark.parametrize(("backbone", "count"), BLOCKS.items())
def test_blocks_are_the_network_s_own_stages_and_are_freed_from_the_top(backbone, count):
    freed = []
    for trained in (0, 1, 2, count - 1, ALL_BLOCKS):
        net = build(plain(backbone, blocks_trained=trained), 2, "none")
        assert len(net.parts) == count
        freed.append(sum(each.numel() for each in net.parameters() if each.requires_grad))
    assert freed == sorted(set(freed)) and freed[-1] == sum(each.numel() for each in net.parameters())
    with pytest.raises(ValueError, match=f"the network has {count}"):
        build(plain(backbone, blocks_trained=count + 1), 2, "none")


def test_frozen_layers_neither_drop_nor_move_their_statistics():
    net = build(plain("torchvision:mobilenet_v3_small", blocks_trained=1), 2, "none").train()
    assert not any(module.training for block in net.frozen() for module in block.modules())
    assert net.net.features[-1].training


def test_an_extra_dense_layer_stands_before_the_last():
    net = build(plain("timm:resnet18", extra_dense=True), 3, "none")
    assert [layer.out_features for layer in net.net.fc if isinstance(layer, torch.nn.Linear)] == [4096, 3]


def test_scaling_and_size_are_those_of_the_weights():
    assert own_image_size("timm:inception_v4") == 299
    assert build(plain("timm:vit_tiny_patch16_224"), 2, "none").scale.mean.flatten().tolist() == [0.5] * 3
    mean = build(plain("timm:resnet18"), 2, "none").scale.mean
    assert mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_a_size_that_the_network_cannot_take_is_one_sentence():
    with pytest.raises(WeightsError, match=r"8 px .*--image-size 224"):
        build(plain("torchvision:alexnet", image_size=8), 2, "none")


def test_a_file_of_the_library_s_weights_starts_it_whatever_its_classes(tmp_path):
    import timm

    original = timm.create_model("resnet18", num_classes=7)
    torch.save(original.state_dict(), tmp_path / "mine.pth")
    net = build(plain("timm:resnet18"), 2, str(tmp_path / "mine.pth"))
    assert torch.equal(net.net.conv1.weight, original.conv1.weight)
    assert weights_licence("timm:resnet18", str(tmp_path / "mine.pth")) == "that of the file mine.pth"
    torch.save({"conv1.weight": original.conv1.weight}, tmp_path / "torn.pth")
    with pytest.raises(WeightsError, match="lacks"):
        build(plain("timm:resnet18"), 2, str(tmp_path / "torn.pth"))


def test_a_saved_model_starts_another(tmp_path):
    from safetensors.torch import save_file

    net = build(plain("timm:resnet18"), 2, "none")
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    again = build(plain("timm:resnet18"), 2, str(tmp_path / "model.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_weights_that_nobody_publishes_are_not_claimed():
    with pytest.raises(WeightsError, match="are published"):
        build(plain("timm:mixer_s32_224", image_size=224), 2, "downloaded")
