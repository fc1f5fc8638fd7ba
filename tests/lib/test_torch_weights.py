"""The border with torch.nn. (That the numbers agree is tested beside each module.)"""

import pytest
import torch
from torch import nn

from attnlab.encoder import Encoder
from attnlab.multi_head import MultiHeadAttention
from attnlab.torch_weights import load_torch, our_names


def test_the_packed_matrix_becomes_three():
    theirs = nn.MultiheadAttention(6, 2)
    names = our_names(theirs.state_dict())
    assert set(names) == {f"W_{part}.{kind}" for part in "qkvo" for kind in ("weight", "bias")}
    assert torch.equal(names["W_k.weight"], theirs.in_proj_weight[6:12])


def test_our_copy_is_a_copy():
    theirs = nn.MultiheadAttention(6, 2)
    ours = load_torch(MultiHeadAttention(6, 2), theirs)
    nn.init.zeros_(theirs.in_proj_weight)
    assert ours.W_q.weight.ne(0).all()


def test_what_does_not_fit_is_refused():
    layer = nn.TransformerEncoderLayer(6, 2, 7, batch_first=True)
    theirs = nn.TransformerEncoder(layer, 3, nn.LayerNorm(6), enable_nested_tensor=False)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_torch(Encoder(2, 6, 2, 7), theirs)
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_torch(Encoder(3, 6, 2, 11), theirs)
