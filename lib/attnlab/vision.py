"""Vision: an image as a sequence of patches (ViT), and attention over what a convolutional network saw.

PatchEmbedding, ViT      patches are the tokens; nothing else of the Transformer changes
CNNWithAttention         regions of a feature map are the tokens: they look at one another, then a query pools them
SmallCNN                 the baseline: the same convolutions, and the mean of all regions
"""

import torch
from torch import nn

from attnlab.dot_product import attention_weights
from attnlab.encoder import Encoder
from attnlab.multi_head import MultiHeadAttention
from attnlab.norms import LayerNorm
from attnlab.shapes import Float, Tensor


def patchify(images: Float[Tensor, "B C H W"], patch: int) -> Float[Tensor, "B N patch_size"]:
    """Cut images into patches of patch × patch pixels, row by row; each becomes one vector of C · patch² numbers.

    N = (H / patch) · (W / patch). Within a vector: channel, then row, then column, as ``F.unfold`` has it.
    """
    B, C, H, W = images.shape
    if H % patch or W % patch:
        raise ValueError(
            f"Images of {H}×{W} cannot be cut into patches of {patch}×{patch}: "
            f"{patch} must divide both sides; resize or pad the images {tuple(images.shape)} first."
        )
    grid = images.reshape(B, C, H // patch, patch, W // patch, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * patch**2)


def resize_positions(
    positions: Float[Tensor, "rows columns d_model"], grid: tuple[int, int]
) -> Float[Tensor, "new_rows new_columns d_model"]:
    """Learned positions for a grid of another size: bilinear between the neighbours *in the image*.

    A model trained on small images can so read larger ones. As a sequence, position 7 of a 4×4 and of an 8×8 grid
    have nothing in common. The corners of the *image* are kept, not the centres of the corner patches.

    Dosovitskiy et al., 2021, section 3.2.
    """
    rows_first = positions.permute(2, 0, 1)[None]
    resized = nn.functional.interpolate(rows_first, size=grid, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0)


class PatchEmbedding(nn.Module):
    """Images to tokens: each patch through one linear layer, plus a learned position for its place in the grid."""

    def __init__(self, image_size: tuple[int, int], channels: int, patch: int, d_model: int):
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(channels * patch**2, d_model)
        self.positions = nn.Parameter(torch.randn(image_size[0] // patch, image_size[1] // patch, d_model) * 0.02)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N d_model"]:
        tokens = self.project(patchify(images, self.patch))
        grid = (images.shape[2] // self.patch, images.shape[3] // self.patch)
        positions = self.positions if grid == self.positions.shape[:2] else resize_positions(self.positions, grid)
        return tokens + positions.flatten(0, 1)


class ViT(nn.Module):
    """Patches, one [class] token in front, an encoder; the class is read off that token.

        logits = W · Encoder([class; E patch_1 + p_1; …; E patch_N + p_N])_0

    The paper's [class] token has a position too: for a learned token that is the same thing. Its feed-forward network
    has GELU where ours has ReLU.

    Dosovitskiy et al., 2021, "An image is worth 16×16 words".
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        channels: int,
        patch: int,
        num_classes: int,
        d_model: int,
        num_heads: int,
        d_ff: int,
        num_layers: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.embed = PatchEmbedding(image_size, channels, patch, d_model)
        self.class_token = nn.Parameter(torch.zeros(d_model))
        self.encoder = Encoder(num_layers, d_model, num_heads, d_ff, dropout, order="pre")
        self.out = nn.Linear(d_model, num_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B classes"]:
        tokens = self.embed(images)
        class_token = self.class_token.expand(len(tokens), 1, -1)
        states = self.encoder(torch.cat([class_token, tokens], dim=1))
        return self.out(states[:, 0])


class SmallCNN(nn.Module):
    """Two convolutions, the mean over all regions, a linear layer: the baseline without attention."""

    def __init__(self, channels: int, num_classes: int, d_model: int):
        super().__init__()
        self.features = _convolutions(channels, d_model)
        self.out = nn.Linear(d_model, num_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B classes"]:
        return self.out(self.features(images).mean(dim=(2, 3)))


class CNNWithAttention(nn.Module):
    """The same convolutions; then the regions attend to one another, and a learned query pools them.

        x = regions of the feature map, h·w of them
        x = x + MultiHead(norm(x), norm(x), norm(x))
        out = Attention(query, x, x) W

    ``weights`` says how much each region counts for the answer: draw it over the image. There are no positions; what
    the convolutions saw of the border is all that is known of a place.

    After Wang et al., 2018, "Non-local neural networks" (regions), and Xu et al., 2015, "Show, attend and tell".
    """

    def __init__(self, channels: int, num_classes: int, d_model: int, num_heads: int):
        super().__init__()
        self.features = _convolutions(channels, d_model)
        self.norm = LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, num_heads)
        self.query = nn.Parameter(torch.zeros(1, d_model))
        self.out = nn.Linear(d_model, num_classes)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B classes"]:
        regions, _ = self._regions(images)
        pooled = attention_weights(self.query.expand(len(images), 1, -1), regions) @ regions
        return self.out(pooled[:, 0])

    @torch.no_grad()
    def weights(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B rows columns"]:
        """What the query attends to, on the grid of the feature map."""
        regions, grid = self._regions(images)
        return attention_weights(self.query.expand(len(images), 1, -1), regions).reshape(-1, *grid)

    def _regions(self, images):
        features = self.features(images)
        x = features.flatten(2).transpose(1, 2)  # B h·w d_model
        normed = self.norm(x)
        return x + self.attention(normed, normed, normed), features.shape[2:]


def _convolutions(channels: int, d_model: int) -> nn.Module:
    """Halves each side of the image; a region then sees 8×8 pixels."""
    return nn.Sequential(
        nn.Conv2d(channels, d_model, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(d_model, d_model, 3, padding=1),
        nn.ReLU(),
    )
