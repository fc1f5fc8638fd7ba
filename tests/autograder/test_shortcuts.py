"""What an exercise forbids is found, under any name and with its line; what only looks like it costs nothing."""

import pytest
from submissions import LOG_SOFTMAX, SOFTMAX, verdict

from autograder import panel, static

BANNED = (
    "torch.softmax",
    "torch.nn.functional.softmax",
    "torch.Tensor.softmax",
    "torch.nn.Softmax",
    "torch.nn.MultiheadAttention",
)
TO_TENSOR = "torch.as_tensor(np.asarray(x, float))"


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        (["import torch", "def f(x):\n    return torch.softmax(x, -1)"], (2, 2)),
        (
            ["import torch as t\nimport torch.nn.functional as G", "def f(x):\n    y = x\n    return G.softmax(y)"],
            (2, 3),
        ),
        (["from torch import softmax as s", "def f(x):\n    return s(x)"], (2, 2)),
        (["def f(x):\n    from torch.nn.functional import softmax\n    return softmax(x)"], (1, 3)),
        (["import torch\ns = torch.softmax", "def g(x): return s(x)", "def f(x):\n    return g(x)"], (1, 2)),
        (["import torch", "from functools import partial\nf = partial(torch.softmax, dim=-1)"], (2, 2)),
        (["import torch", "f = lambda x: torch.softmax(x, 0)"], (2, 1)),
        (
            [
                "import torch",
                "class f(torch.nn.Module):\n    def __init__(self):\n        self.a = torch.nn.Softmax(1)",
            ],
            (2, 3),
        ),
        (["from torch import nn", "class f(nn.MultiheadAttention):\n    pass"], (2, 1)),
        (["import torch", "def f(x):\n    return getattr(torch, 'softmax')(x)"], (2, 2)),
        (["def f(x):\n    return __import__('torch').softmax(x)"], (1, 2)),
        (["import importlib", "def f(x):\n    return importlib.import_module('torch').softmax(x)"], (2, 2)),
        (["from torch.nn.functional import *", "def f(x):\n    return softmax(x)"], (2, 2)),
        (["import torch", "%%time\ndef f(x):\n    return torch.softmax(x, -1)"], (2, 3)),
        (["import torch", "def f(x): ...", "f.call = torch.softmax"], (3, 1)),
        (["import torch.nn.modules.activation as act", "def f(x):\n    return act.MultiheadAttention(1, 1)"], (2, 2)),
    ],
)
def test_a_shortcut_is_found_where_it_stands(cells, place):
    import torch  # what is banned is compared as an object, too

    assert torch.softmax
    found = static.uses(cells, "f", BANNED)
    assert [(use.cell, use.line) for use in found] == [place]
    assert f"line {place[1]} of code cell {place[0]}" in found[0].sentence("f")


@pytest.mark.parametrize(
    "cells",
    [
        ["import torch", 'def f(x):\n    """Not torch.softmax(x)."""\n    # torch.softmax(x, -1)\n    return x'],
        ["import torch", "def f(x):\n    return x", "print(torch.softmax(f(x), -1))"],
        ["import torch", "def f(x):\n    return torch.softmax(x, -1)", "def f(x):\n    return x"],
        ["from torch import softmax", "def softmax(x): return x", "def f(x): return softmax(x)"],
        ["import torch", "def f(x, torch=None):\n    return torch.softmax(x)"],
        ["def f(x):\n    return x.softmax_like(x)"],
        ["import torch", "def check_mine(x):\n    return torch.softmax(x, 0) - f(x)", "def f(x):\n    return x"],
        ["this is no Python (", "def f(x): return x"],
        ["!pip install torch.softmax", "%matplotlib inline", "def f(x): return x"],
        ["import torch", "def f(x):\n    text = 'torch.softmax'\n    return x"],
    ],
)
def test_what_only_looks_like_a_shortcut_costs_nothing(cells):
    assert static.uses(cells, "f", BANNED) == []


START = "def softmax(x, axis=-1):\n    "
HIDDEN = {
    "plain": [START + "return torch.softmax(T, axis).numpy()"],
    "in a list": ["import torch.nn.functional as F\nkept = [F.softmax]", START + "return kept[0](T, axis).numpy()"],
    "a method": [START + "return T.softmax(axis).numpy()"],
    "a built name": [START + "return getattr(torch, 'soft' + 'max')(T, axis).numpy()"],
    "a closure": [
        "def hide():\n    keep = torch.softmax\n    return lambda t, a: keep(t, a)\nhidden = hide()",
        START + "return globals()['hidden'](T, axis).numpy()",
    ],
    "a module": ["layers = {}\nlayers['a'] = torch.nn.Softmax(-1)", START + "return eval('layers')['a'](T).numpy()"],
    "the reference": ["from attnlab.softmax import softmax as theirs", START + "return theirs(x, axis)"],
    "the reference itself": ["from attnlab.softmax import softmax"],
    "what holds the reference": [
        "from attnlab.dot_product import attention_weights as w",
        START + "return w(x, x)",
    ],
    "importlib": [
        "import importlib\nname = 'attnlab.' + 'softmax'",
        START + "return importlib.import_module(name).softmax(x, axis)",
    ],
    "inspect": [
        "import inspect, attnlab.softmax",
        START + "d = {}\n    exec(inspect.getsource(attnlab.softmax), d)\n    return d['softmax'](x, axis)",
    ],
    "the file": [
        "import attnlab, pathlib",
        START + "f = pathlib.Path(attnlab.__file__).parent / 'softmax.py'\n"
        "    d = {}\n    exec(f.read_text(), d)\n    return d['softmax'](x, axis)",
    ],
}


@pytest.mark.parametrize("cells", HIDDEN.values(), ids=HIDDEN)
def test_no_shortcut_earns_a_point(cells):
    cells = ["import numpy as np, torch", *(c.replace("T", TO_TENSOR, 1) for c in cells)]
    result = verdict(*cells)
    assert result.points == 0, panel.text(result)
    assert "Traceback" not in panel.text(result)


def test_the_reason_is_a_sentence_with_the_line():
    text = panel.text(
        verdict(
            "import numpy as np, torch",
            f"def softmax(x, axis=-1):\n    return torch.softmax({TO_TENSOR}, axis).numpy()",
        )
    )
    assert "`torch.softmax` is the answer to this exercise" in text
    assert "line 2 of code cell 2" in text


def test_a_demonstration_with_the_library_costs_nothing():
    cells = [SOFTMAX, LOG_SOFTMAX, "import torch\nprint(torch.softmax(torch.ones(3), -1), softmax(np.ones(3)))"]
    assert verdict(*cells).passed
    assert verdict(*cells, "from attnlab.softmax import softmax as reference").passed
    assert verdict(*cells, name="log_softmax").passed


def test_other_functions_of_torch_are_free():
    source = "import torch, numpy as np\ndef softmax(x, axis=-1):\n    t = torch.as_tensor(np.array(x, float))\n"
    source += "    e = torch.exp(t - t.amax(axis, keepdim=True))\n    return (e / e.sum(axis, keepdim=True)).numpy()"
    assert verdict(source).passed
