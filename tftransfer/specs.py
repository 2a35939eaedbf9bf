"""Names on the command line: `vit(width=64)` to the builder in `__all__`, with its arguments."""

import ast


def resolve(text, module):
    """Finds a public member of a module by its name, in any spelling, with keyword arguments behind it.

    Args:
        text: a name such as `"masked_autoencoder"` or `"MaskedAutoencoder"`, and optionally arguments that
            are plain values: `"vit(width=64, depth=2)"`.
        module: a module with `__all__`, such as `tftransfer.backbones`.

    Returns:
        `(member, arguments)`: the function or class, and a dict.

    Raises:
        ValueError: for an unknown name, with those there are, or for arguments that are not plain values.

    Example:

    >>> from tftransfer import backbones
    >>> resolve("ViT(width=64)", backbones)[1]
    {'width': 64}
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else None
        name = (call.func if call else node).id
        if call and call.args:
            raise ValueError
        arguments = {k.arg: ast.literal_eval(k.value) for k in call.keywords} if call else {}
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{text!r} is not understood. Write a name, or a name with plain keyword arguments: vit(width=64, depth=2)."
        ) from error
    members = {
        _plain(n): n for n in module.__all__ if _plain(n) not in ("objective", "task", "policy", "stage")
    }
    if _plain(name) not in members:
        raise ValueError(
            f"There is no {name!r} in {module.__name__}; there are {', '.join(sorted(members.values()))}."
        )
    return getattr(module, members[_plain(name)]), arguments


def resolve_policy(text):
    """`"linear_probe(epochs=5)+full"` to a `Policy`; names are those of `tftransfer.policies`.

    Example:

    >>> resolve_policy("linear_probe(epochs=2) + full(epochs=3)").epochs
    5
    """
    from tftransfer import policies

    parts = []
    for part in ast.unparse(ast.parse(text, mode="eval")).split(" + "):
        build, arguments = resolve(part, policies)
        parts.append(build(**arguments))
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def call_text(prefix, function, *first, **arguments):
    """The Python of a call, for printing: `tt.backbones.vit((8, 8, 1), width=64)`."""
    words = [*first, *(f"{name}={value!r}" for name, value in arguments.items())]
    return f"{prefix}.{function.__name__}({', '.join(words)})"


def _plain(name):
    return name.replace("_", "").lower()
