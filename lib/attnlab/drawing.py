"""A drawing of a model, made by watching it work: which part hands what to which, in the shapes that really pass.

Nothing is drawn that did not happen. A tensor is followed from the part that made it, through the functions between,
to the part that takes it in. Where a function joins two of them, as the + of a residual connection does, it becomes a
node of its own. So a residual connection that is missing is missing in the picture, too.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from attnlab.interactive.drawing import Figure, as_image, drawing, words
from attnlab.plotting import COLOURS, INK
from attnlab.shapes import Tensor

SIGNS = {"add": "+", "sub": "−", "mul": "×", "matmul": "@", "cat": "∥"}


@dataclass
class Node:
    """An input, a part of the model, or a function that joins two tensors."""

    name: str
    kind: str = ""  # the part's type; empty for inputs and functions
    layer: str = ""  # the layer that it belongs to, "encoder.layers.0"
    parameters: int = 0
    masks: tuple[str, ...] = ()
    shape: str = ""


@dataclass
class Graph:
    """What a model did: its nodes in the order in which they worked, and (from, to) → the shape that was handed on."""

    nodes: list[Node] = field(default_factory=list)
    edges: dict[tuple[int, int], str] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)  # a layer, and how many like it follow one another

    def __str__(self) -> str:
        lines = []
        for (a, b), shape in self.edges.items():
            lines.append(f"{self.nodes[a].name} → {shape} → {self.nodes[b].name}")
        lines += [f"{layer}: {n} alike" for layer, n in self.repeated.items()]
        return "\n".join(lines)


@torch.no_grad()
def watch(model: nn.Module, **inputs: Tensor) -> Graph:
    """Call the model on these inputs, in evaluation mode, and note who hands what to whom."""
    watcher = _Watcher()
    for name, tensor in inputs.items():
        watcher.made(tensor, watcher.node(Node(name, shape=_shape(tensor))))
    mode = model.training
    with ExitStack() as stack:
        stack.callback(model.train, mode)
        model.eval()
        for path, module, is_part in _modules(model):
            stack.enter_context(watcher.part(path, module) if is_part else watcher.opened(path, module))
        stack.enter_context(watcher)
        out = model(*inputs.values())
    graph = watcher.graph
    for tensor in _tensors(out):
        if id(tensor) in watcher.maker:
            end = watcher.node(Node("out", shape=_shape(tensor)))
            graph.edges[watcher.maker[id(tensor)], end] = _shape(tensor)
    return graph


def draw_model(model: nn.Module, **inputs: Tensor) -> Figure:
    """The model as a picture: parts as boxes, shapes on the arrows; what depends on the last input stands on the right.

    Layers that are alike are drawn once.
    """
    graph = folded(watch(model, **inputs))
    text = str(graph)
    return Figure(as_image(_svg(graph), f"{type(model).__name__}, drawn from what it did. {text}"), text)


# ---------------------------------------------------------------------------------------------------------------------
# Watching


class _Watcher(TorchFunctionMode):
    """Follows tensors by identity. Those that were seen are kept, so that no other takes their place."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self.maker: dict[int, int] = {}
        self.kept: list[Tensor] = []
        self.inside = 0  # within a part, nothing is noted
        self.layers = [""]
        self.numbers: list[int] = []  # of the parts that have worked

    def node(self, node: Node) -> int:
        self.graph.nodes.append(node)
        return len(self.graph.nodes) - 1

    def made(self, tensor: Tensor, by: int) -> None:
        if tensor.dtype != torch.bool and id(tensor) not in self.maker:
            self.kept.append(tensor)
            self.maker[id(tensor)] = by

    def join(self, node: Node, tensors: list[Tensor]) -> int:
        """A new node, with an edge from the maker of each tensor."""
        number = self.node(node)
        for tensor in tensors:
            self.graph.edges[self.maker[id(tensor)], number] = _shape(tensor)
        return number

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self.inside:
            known = [t for t in _tensors((args, kwargs)) if id(t) in self.maker]
            makers = {self.maker[id(t)] for t in known}
            made = [t for t in _tensors(out) if t.dtype != torch.bool and id(t) not in self.maker]
            if made and makers:
                name = getattr(func, "__name__", "?").strip("_")
                node = Node(SIGNS.get(name.removeprefix("r"), SIGNS.get(name, name)), layer=self.layers[-1])
                by = makers.pop() if len(makers) == 1 else self.join(node, known)
                for tensor in made:
                    self.made(tensor, by)
        return out

    @contextmanager
    def part(self, path: str, module: nn.Module) -> Iterator[None]:
        """One box of the drawing: what happens in it is its own affair."""

        def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.inside += 1
            if self.inside == 1:
                tensors = _tensors((args, kwargs))
                masks = tuple(_shape(t) for t in tensors if t.dtype == torch.bool)
                n = sum(p.numel() for p in module.parameters())
                node = Node(path, type(module).__name__, self.layers[-1], n, masks)
                self.numbers.append(self.join(node, [t for t in tensors if id(t) in self.maker]))

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            self.inside -= 1
            if self.inside == 0:
                for tensor in _tensors(out):
                    self.made(tensor, self.numbers[-1])

        with _hooked(module, enter, leave):
            yield

    @contextmanager
    def opened(self, path: str, module: nn.Module) -> Iterator[None]:
        """A module that is drawn by its parts."""
        layer = path if path.rpartition(".")[2].isdigit() else ""

        def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.layers.append(layer or self.layers[-1])

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            self.layers.pop()

        with _hooked(module, enter, leave):
            yield


@contextmanager
def _hooked(module: nn.Module, enter: Any, leave: Any) -> Iterator[None]:
    hooks = [module.register_forward_pre_hook(enter, with_kwargs=True), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _modules(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module, bool]]:
    """(path, module, whether it is one box). A module with a norm somewhere inside is drawn by its parts."""
    for name, child in model.named_children():
        here = f"{path}.{name}" if path else name
        if "Dropout" in type(child).__name__:
            continue
        inside = (m for m in child.modules() if m is not child)
        if isinstance(child, nn.ModuleList | nn.Sequential) or any("Norm" in type(m).__name__ for m in inside):
            yield here, child, False
            yield from _modules(child, here)
        else:
            yield here, child, True


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in items for tensor in _tensors(item)]


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "1"


# ---------------------------------------------------------------------------------------------------------------------
# Folding


def folded(graph: Graph) -> Graph:
    """Layers of one stack that did the same are one layer, and ``repeated`` says how many they were."""
    layers: dict[str, list[int]] = {}
    for number, node in enumerate(graph.nodes):
        if node.layer:
            layers.setdefault(node.layer, []).append(number)
    stacks: dict[str, list[str]] = {}
    for layer in layers:
        stacks.setdefault(layer.rpartition(".")[0], []).append(layer)
    stand_in = {number: number for number in range(len(graph.nodes))}
    repeated = {}
    for stack in stacks.values():
        first = layers[stack[0]]
        if len(stack) > 1 and all(_likeness(graph, layers[layer]) == _likeness(graph, first) for layer in stack):
            repeated[stack[0]] = len(stack)
            for layer in stack[1:]:
                stand_in |= dict(zip(layers[layer], first, strict=True))
    kept = sorted(set(stand_in.values()))
    place = {number: i for i, number in enumerate(kept)}
    edges = {}
    for (a, b), shape in graph.edges.items():
        start, end = place[stand_in[a]], place[stand_in[b]]
        if start < end:  # what goes back leads from one layer to the next, which is the same one here
            edges[start, end] = shape
    return Graph([graph.nodes[number] for number in kept], edges, repeated)


def _likeness(graph: Graph, numbers: list[int]) -> list[Any]:
    """All that can be seen of a layer but its number: its nodes, and what they take from one another and elsewhere."""
    at = {number: i for i, number in enumerate(numbers)}
    seen: list[Any] = []
    for number in numbers:
        node = graph.nodes[number]
        incoming = [(at.get(a, "outside"), shape) for (a, b), shape in graph.edges.items() if b == number]
        seen.append((node.name.removeprefix(node.layer), node.kind, node.parameters, node.masks, incoming))
    return seen


# ---------------------------------------------------------------------------------------------------------------------
# Drawing

WIDE, GAP, SIDE, GUTTER = 190, 26, 56, 120


def _svg(graph: Graph) -> str:
    column = _columns(graph)
    places, bottom = _places(graph, column)
    marks = [*_frames(graph, places, column)]
    for (a, b), shape in graph.edges.items():
        marks += _arrow(graph, places, column, a, b, shape)
    for number, node in enumerate(graph.nodes):
        marks += _box(node, *places[number])
    width = 2 * SIDE + (max(column) + 1) * WIDE + max(column) * GUTTER
    arrow = (
        f'<marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0 L6,3 L0,6 z" fill="{INK}"/></marker>'
    )
    return drawing(width, bottom, [f"<defs>{arrow}</defs>", *marks])


def _columns(graph: Graph) -> list[int]:
    """Inputs stand side by side, and what depends on several stands with the last of them."""
    column: list[int] = []
    inputs = 0
    for number, node in enumerate(graph.nodes):
        before = [column[a] for a, b in graph.edges if b == number]
        if not before and not node.kind:
            column.append(inputs)
            inputs += 1
        else:
            column.append(max(before, default=0))
    return column


def _places(graph: Graph, column: list[int]) -> tuple[list[Any], float]:
    """(left, top, width, height) of every node, each column from top to bottom; and where the drawing ends."""
    next_y = [12.0] * (max(column) + 1)
    places, layer = [], [""] * (max(column) + 1)
    for node, c in zip(graph.nodes, column, strict=True):
        if node.layer != layer[c]:
            next_y[c] += 26 if node.layer else 10
            layer[c] = node.layer
        w, h = (WIDE, 38 + 13 * bool(node.masks)) if node.kind else (64, 24) if node.shape else (24, 24)
        x = SIDE + c * (WIDE + GUTTER) + (WIDE - w) / 2
        places.append((x, next_y[c], w, h))
        next_y[c] += h + GAP
    return places, max(next_y) - GAP + 12


def _box(node: Node, x: float, y: float, w: float | int, h: float | int) -> list[str]:
    middle = x + w / 2
    if not node.kind:
        round_ = f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="12"'
        look = f'fill="none" stroke="{INK}" stroke-width="1.5"/>'
        return [f"{round_} {look}", words(middle, y + h / 2 + 5, node.name, size=14, weight=600)]
    colour = next((c for word, c in _COLOUR_OF.items() if word in node.kind), COLOURS[0])
    title = node.name.removeprefix(node.layer).lstrip(".")
    lines = [(title, 13, 600), (f"{node.kind} · {node.parameters:,}", 11, 400)]
    lines += [(f"mask {', '.join(node.masks)}", 11, 400)] * bool(node.masks)
    marks = [
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" fill="{colour}" fill-opacity="0.16" '
        f'stroke="{colour}" stroke-width="1.5"/>'
    ]
    for i, (said, size, weight) in enumerate(lines):
        marks.append(words(middle, y + 16 + 14 * i, said, size=size, weight=weight))
    return marks


_COLOUR_OF = {"Attention": COLOURS[1], "Norm": INK, "Embedding": COLOURS[2]}


def _frames(graph: Graph, places: list[Any], column: list[int]) -> Iterator[str]:
    """A frame around each layer, with its name."""
    for layer in dict.fromkeys(node.layer for node in graph.nodes if node.layer):
        boxes = [places[i] for i, node in enumerate(graph.nodes) if node.layer == layer]
        top, bottom = min(y for _, y, _, _ in boxes) - 24, max(y + h for _, y, _, h in boxes) + 8
        c = next(c for node, c in zip(graph.nodes, column, strict=True) if node.layer == layer)
        left, wide = SIDE + c * (WIDE + GUTTER) - 44, WIDE + 88
        yield (
            f'<rect x="{left}" y="{top:.1f}" width="{wide}" height="{bottom - top:.1f}" rx="8" fill="none" '
            f'stroke="{INK}" stroke-opacity="0.6" stroke-dasharray="4 4"/>'
        )
        n = graph.repeated.get(layer, 1)
        said = f"{layer.rpartition('.')[0]} × {n}" if n > 1 else layer
        where, anchor = (left + wide - 8, "end") if c == 0 else (left + 8, "start")  # away from the arrows around it
        yield words(where, top + 14, said, size=12, anchor=anchor, weight=600)


def _arrow(graph: Graph, places: list[Any], column: list[int], a: int, b: int, shape: str) -> list[str]:
    (xa, ya, wa, ha), (xb, yb, wb, hb) = places[a], places[b]
    ca, cb = column[a], column[b]
    between = [i for i in range(a + 1, b) if column[i] == cb]
    if ca == cb and not between:  # straight down
        x = xa + wa / 2
        path, label = f"M{x:.1f},{ya + ha:.1f} V{yb:.1f}", (x + 6, ya + ha + GAP / 2 + 4, "start", "")
    elif ca == cb:  # around what lies between: on the left in the first column, on the right in the others
        outwards = -1 if ca == 0 else 1
        x = xa + wa / 2 + outwards * (WIDE / 2 + 18)
        start, end = ya + ha + 7, yb + hb / 2
        middle = (start + end) / 2 + 8
        path = f"M{xa + wa / 2:.1f},{start:.1f} H{x:.1f} V{end:.1f} H{xb + wb / 2 + outwards * wb / 2:.1f}"
        x += outwards * 6
        label = (x, middle, "middle", f"rotate({90 * outwards} {x:.1f} {middle:.1f})")
    else:  # across
        y, end = ya + ha / 2, yb + hb / 2
        x = SIDE + cb * (WIDE + GUTTER) - GUTTER / 2
        path = f"M{xa + wa:.1f},{y:.1f} H{x:.1f} V{end:.1f} H{xb:.1f}"
        label = (xa + wa + 4, y - 6, "start", "")
    line = f'<path d="{path}" fill="none" stroke="{INK}" stroke-width="1.4" marker-end="url(#tip)"/>'
    x, y, anchor, turn = label
    return [line, words(x, y, shape, size=11, anchor=anchor, turn=turn)]
