"""A drawing tells what a model did, and nothing else."""

import pytest
import torch
from torch import nn

from attnlab.drawing import draw_model, folded, watch
from attnlab.transformer import Transformer

B, S, T, D_MODEL = 3, 7, 5, 6


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def src():
    src = torch.randint(1, 17, (B, S))
    src[1, 4:] = 0
    return src


@pytest.fixture
def tgt():
    return torch.randint(1, 19, (B, T))


def model(order="pre", layers=2):
    return Transformer(17, 19, D_MODEL, 2, layers, 11, order=order)


def named_edges(graph):
    return {(graph.nodes[a].name, graph.nodes[b].name): shape for (a, b), shape in graph.edges.items()}


def sums(graph):
    return sum(node.name == "+" for node in graph.nodes)


def test_every_arrow_has_the_shape_that_passes(src, tgt):
    edges = named_edges(watch(model(), src=src, tgt=tgt))
    assert edges["src", "src_embedding"] == "3×7"
    assert edges["encoder.norm", "decoder.layers.0.cross_attention"] == "3×7×6"
    assert edges["encoder.norm", "decoder.layers.1.cross_attention"] == "3×7×6"
    assert edges["decoder.norm", "W_out"] == "3×5×6"
    assert edges["W_out", "out"] == "3×5×19"


@pytest.mark.parametrize("order", ["pre", "post"])
def test_each_residual_connection_is_a_sum(order, src, tgt):
    graph = watch(model(order), src=src, tgt=tgt)
    assert sums(graph) == 2 * 2 + 2 * 3
    for number, node in enumerate(graph.nodes):
        if node.name == "+":
            assert sum(b == number for _, b in graph.edges) == 2


def test_a_residual_connection_that_is_missing_is_missing_in_the_picture(src, tgt):
    broken = model()
    layer = broken.encoder.layers[0]
    layer.forward = lambda x, mask=None: layer.feed_forward(layer.self_attention(x, x, x, mask))
    graph = watch(broken, src=src, tgt=tgt)
    assert sums(graph) == 2 + 2 * 3
    assert len(folded(graph).nodes) > len(folded(watch(model(), src=src, tgt=tgt)).nodes)  # no two alike any more


def test_masks_are_named_where_they_are_used(src, tgt):
    masks = {node.name: node.masks for node in watch(model(), src=src, tgt=tgt).nodes if node.masks}
    assert masks["encoder.layers.0.self_attention"] == ("3×1×1×7",)
    assert masks["decoder.layers.0.self_attention"] == ("5×5",)
    assert masks["decoder.layers.0.cross_attention"] == ("3×1×1×7",)
    assert len(masks) == 6


def test_layers_that_are_alike_are_drawn_once(src, tgt):
    graph = folded(watch(model(layers=3), src=src, tgt=tgt))
    assert graph.repeated == {"encoder.layers.0": 3, "decoder.layers.0": 3}
    assert not any("layers.1" in node.name for node in graph.nodes)
    assert named_edges(graph)["+", "encoder.norm"] == "3×7×6"  # out of the last layer, which is the first one here
    assert all(a < b for a, b in graph.edges)


def test_parameters_are_counted(src, tgt):
    transformer = model()
    graph = watch(transformer, src=src, tgt=tgt)
    assert sum(node.parameters for node in graph.nodes) == sum(p.numel() for p in transformer.parameters())


def test_watching_changes_nothing(src, tgt):
    transformer = model().train()
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    watch(transformer, src=src, tgt=tgt)
    assert transformer.training
    assert all(torch.equal(before[name], value) for name, value in transformer.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in transformer.modules())


def test_a_model_of_one_input_and_no_norm():
    stack = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    graph = watch(nn.Sequential(stack), x=torch.randn(7, 3))
    assert [node.kind for node in graph.nodes] == ["", "Linear", "ReLU", "Linear", ""]
    assert list(graph.edges.values()) == ["7×3", "7×5", "7×5", "7×2"]


def test_the_figure_says_in_words_what_it_shows(src, tgt):
    figure = draw_model(model(), src=src, tgt=tgt)
    assert "encoder.norm → 3×7×6 → decoder.layers.0.cross_attention" in figure.text
    assert "encoder.layers.0: 2 alike" in figure.text
    assert figure.html.startswith('<img alt="Transformer, drawn from what it did. src → 3×7 → src_embedding')
