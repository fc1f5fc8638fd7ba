"""Patches and positions by hand; and models that must relate two places of an image."""

import pytest
import torch
from torch import nn

from attnlab.vision import CNNWithAttention, PatchEmbedding, SmallCNN, ViT, patchify, resize_positions

B, C, H, W, P = 2, 3, 10, 15, 5


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_patchify_by_hand():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert patchify(image, 2)[0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_patchify_equals_unfold(dtype):
    images = random(H, W, B, C, dtype=dtype).permute(2, 3, 0, 1)  # not contiguous
    before = images.clone()
    patches = patchify(images, P)
    assert patches.shape == (B, 2 * 3, C * P**2)
    assert torch.equal(patches, nn.functional.unfold(images, P, stride=P).transpose(1, 2))
    assert torch.equal(images, before)


def test_a_patch_that_does_not_fit_is_explained():
    with pytest.raises(ValueError, match="Images of 10×15 cannot be cut into patches of 4×4"):
        patchify(random(B, C, H, W), 4)


def test_patch_embedding_is_a_convolution_with_the_stride_of_a_patch():
    torch.manual_seed(0)
    embed = PatchEmbedding((H, W), C, P, 7)
    images = random(B, C, H, W)
    kernel = embed.project.weight.reshape(7, C, P, P)
    convolved = nn.functional.conv2d(images, kernel, embed.project.bias, stride=P)
    expected = convolved.flatten(2).transpose(1, 2) + embed.positions.reshape(-1, 7)
    torch.testing.assert_close(embed(images), expected)


def test_resized_positions_by_hand():
    """From 2 columns to 4: a quarter of the way in from the border, the nearest two are mixed 3 : 1."""
    positions = torch.tensor([[[0.0], [4.0]]])
    assert resize_positions(positions, (1, 4))[0, :, 0].tolist() == [0, 1, 3, 4]


def test_positions_stay_as_they_are_on_their_own_grid_and_constants_everywhere():
    positions = random(3, 5, 7)
    torch.testing.assert_close(resize_positions(positions, (3, 5)), positions)
    torch.testing.assert_close(resize_positions(torch.ones(3, 5, 7), (11, 2)), torch.ones(11, 2, 7))


def test_rows_and_columns_are_not_swapped():
    by_row = torch.arange(3.0)[:, None, None].expand(3, 5, 1)
    resized = resize_positions(by_row, (6, 2))
    assert torch.equal(resized[:, 0], resized[:, 1])
    assert (resized[1:] > resized[:-1]).float().mean() > 0.5


def test_a_vit_reads_images_of_another_size():
    torch.manual_seed(0)
    model = ViT((8, 8), C, 4, num_classes=5, d_model=8, num_heads=2, d_ff=16, num_layers=2)
    assert model(random(B, C, 8, 8)).shape == model(random(B, C, 12, 20)).shape == (B, 5)


def test_without_positions_a_vit_sees_a_bag_of_patches():
    torch.manual_seed(0)
    model = ViT((8, 8), C, 4, num_classes=5, d_model=8, num_heads=2, d_ff=16, num_layers=2)
    images = random(B, C, 8, 8)
    swapped = torch.cat([images[..., 4:], images[..., :4]], dim=-1)
    assert not torch.allclose(model(images), model(swapped), atol=1e-5)
    nn.init.zeros_(model.embed.positions)
    torch.testing.assert_close(model(images), model(swapped))


def test_the_attention_over_regions_is_a_distribution_on_the_grid():
    torch.manual_seed(0)
    model = CNNWithAttention(C, 5, 8, 2)
    nn.init.normal_(model.query)
    weights = model.weights(random(B, C, 8, 12))
    assert weights.shape == (B, 4, 6)
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(B))


def glyph_pairs(n, seed):
    """Two of four glyphs at two of nine places; the class is whether they are the same glyph."""
    glyphs = torch.tensor([[[1, 1], [1, 1]], [[1, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]]).float()
    g = torch.Generator().manual_seed(seed)
    images = 0.1 * torch.randn(n, 1, 12, 12, generator=g)
    same = torch.randint(2, (n,), generator=g)
    for b in range(n):
        first, other = torch.randperm(4, generator=g)[:2].tolist()
        for glyph, place in zip(
            [first, first if same[b] else other], torch.randperm(9, generator=g)[:2].tolist(), strict=True
        ):
            row, column = place // 3 * 4 + 1, place % 3 * 4 + 1
            images[b, 0, row : row + 2, column : column + 2] += glyphs[glyph]
    return images, same


def accuracy_after_training(model, steps, data, rate):
    images, labels = data(2048, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        batch = slice(step % 32 * 64, step % 32 * 64 + 64)
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, labels = data(512, seed=1)
    return (model.eval()(images).argmax(1) == labels).double().mean().item()


@pytest.mark.slow
def test_models_with_attention_compare_two_places_and_the_cnn_only_counts():
    torch.manual_seed(0)
    cnn = accuracy_after_training(SmallCNN(1, 2, 32), 300, glyph_pairs, 0.003)
    attended = accuracy_after_training(CNNWithAttention(1, 2, 32, 2), 300, glyph_pairs, 0.003)
    vit = accuracy_after_training(ViT((12, 12), 1, 4, 2, 32, 2, 64, 2), 300, glyph_pairs, 0.003)
    assert min(attended, vit) > 0.9
    assert cnn < 0.75
