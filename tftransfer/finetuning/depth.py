"""The depth of a backbone, read from its graph: which variables belong together, from the input to the output."""

import dataclasses

import keras

from tftransfer.layers import cut_tensors
from tftransfer.policies.adapters import Adapter

__all__ = ["depth_groups"]


def depth_groups(task, paths):
    """Groups of variable paths from the input to the output; the last group is the head.

    A functional backbone is cut wherever a single tensor carries everything on: between the residual blocks
    of a ResNet, the layers of a VGG, the blocks of a transformer. Normalization goes with what precedes it.
    In a model with attention a group begins at each attention, so that a block is one group however it was
    written, and everything before the first (patches, positions) is one. Nested models are opened; a
    subclassed layer that holds several blocks of one kind counts block by block. No table of names is
    involved.

    Args:
        task: a task with `.backbone`.
        paths: `{path: keras.Variable}` of the variables to be grouped.

    Returns:
        `(groups, ends)`: a list of lists of paths, of which each path stands in exactly one; and, for each
        group below the head, the layer or operation whose output ends it (None inside a subclassed layer).

    Example:

    >>> import tftransfer as tt
    >>> task = tt.tasks.Classifier(tt.backbones.mlp((8,), units=(5, 4)), num_classes=3)
    >>> groups, _ = depth_groups(task, tt.finetuning.variable_paths(task))
    >>> [[path.split("/")[-2] for path in group] for group in groups]
    [['block_00_dense', 'block_00_dense'], ['block_01_dense', 'block_01_dense'], ['head', 'head']]
    """
    path_of = {id(variable): path for path, variable in paths.items()}
    groups, ends = [], []
    for segment in _merged(_segments(task.backbone, root=True)):
        found = [path_of.pop(id(v), None) for layer in segment.layers for v in layer.weights]
        if any(found):
            groups.append([path for path in found if path is not None])
            ends.append(segment.end)
    within = [
        path for path in path_of.values() if path.startswith("backbone/")
    ]  # the backbone's own variables
    if within:
        groups[:1] = [within + (groups[0] if groups else [])]
    head = [path for path in path_of.values() if not path.startswith("backbone/")]
    return ([*groups, head] if head else groups), ends


@dataclasses.dataclass
class _Segment:
    """Layers between two cuts, and the layer (or operation) whose output is the second cut."""

    layers: list
    end: object

    @property
    def attends(self):
        return any(
            "attention" in type(x).__name__.lower() for layer in self.layers for x in layer._flatten_layers()
        )

    @property
    def normalizes(self):
        return all("normalization" in type(layer).__name__.lower() for layer in self.layers)


def _segments(layer, root=False):
    """The layers inside a layer, cut wherever one tensor carries everything on."""
    if isinstance(layer, keras.Sequential):
        parts = [_Segment([part], part) for part in layer.layers]
    elif isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth"):
        parts = [
            _Segment(run, tensor._keras_history.operation)
            for run, tensor in cut_tensors(layer, integers=False)
        ]
    elif root or _holds_blocks(layer):
        parts = [_Segment([part], None) for part in _children(layer)]
    else:
        return [_Segment([layer], layer)]
    opened = []
    for part in parts:
        with_weights = [inner for inner in part.layers if inner.weights]
        if len(with_weights) == 1:
            inner = _segments(with_weights[0])
            if part.end is not with_weights[0] or inner[-1].end is None:
                inner[-1].end = part.end
            opened.extend(inner)
        elif with_weights:
            opened.append(_Segment(with_weights, part.end))
        elif opened:
            opened[-1].end = part.end  # an activation or a pooling goes with what it follows
    return opened


def _children(layer):
    return [child for child in layer._flatten_layers(include_self=False, recursive=False) if child.weights]


def _holds_blocks(layer):
    """Whether a subclassed layer holds several composite layers of one class: a stack of blocks."""
    kinds = [type(child) for child in _children(layer) if _children(child)]
    return any(kinds.count(kind) > 1 for kind in set(kinds))


def _merged(segments):
    """Segments joined to groups of which each has a matrix to learn; to blocks where there is attention."""
    with_attention = any(segment.attends for segment in segments)
    groups = []
    for segment in segments:
        adapts = any(isinstance(layer, Adapter) for layer in segment.layers)
        begins = (segment.attends if with_attention else not segment.normalizes) and not adapts
        if groups and not begins:
            groups[-1] = _Segment(groups[-1].layers + segment.layers, segment.end)
        else:
            groups.append(segment)
    if len(groups) > 1 and groups[0].normalizes:  # normalization of the input
        groups[:2] = [_Segment(groups[0].layers + groups[1].layers, groups[1].end)]
    return groups
