"""The two stages of a token backbone: what makes tokens, and what mixes them."""

__all__ = ["token_stages"]


def token_stages(backbone, *, objective, instead, pictures=True):
    """`(embedder, trunk)` of a token backbone.

    Args:
        backbone: a built `keras.Model` with layers named `embedder` and `trunk`, such as `backbones.vit` builds.
        pictures: whether the backbone must read pictures.
        objective: name of the objective that hides tokens between them, for the message.
        instead: what to use for other backbones, for the message.

    Raises:
        ValueError: for a backbone without the two stages, or one that does not read pictures where it must.

    Example:

    >>> from tftransfer import backbones
    >>> vit = backbones.vit((8, 8, 1), width=32, depth=1, num_heads=2)
    >>> [stage.name for stage in token_stages(vit, objective="IJEPA", instead="SimMIM")]
    ['embedder', 'trunk']
    """
    try:
        embedder, trunk = backbone.get_layer("embedder"), backbone.get_layer("trunk")
    except ValueError as error:
        raise ValueError(
            f"{objective} hides tokens between a backbone's two stages, layers named 'embedder' and 'trunk'; "
            f"{backbone.name!r} has no such layers. Use backbones.vit, or for other backbones {instead}."
        ) from error
    gives = getattr(embedder, "output_shape", ())
    if len(gives) != 3 or (pictures and len(backbone.input_shape) != 4):
        raise ValueError(
            f"{objective} hides {'patches of pictures' if pictures else 'tokens'}; {backbone.name!r} reads "
            f"{backbone.input_shape} and its embedder gives {gives or 'no known shape'}. Make the embedder a model of "
            f"its own, from {'pictures' if pictures else 'examples'} to tokens (batch, tokens, width)."
        )
    return embedder, trunk
