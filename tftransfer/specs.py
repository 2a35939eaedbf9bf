"""Names on the command line: `vit(width=64)` to the builder in `__all__`, with its arguments."""

import ast
import inspect


def resolve(text, module):
    """Finds a public member of a module by its name, in any spelling, with keyword arguments behind it.

    Args:
        text: a name such as `"masked_autoencoder"` or `"MaskedAutoencoder"`, and optionally arguments that
            are plain values: `"vit(width=64, depth=2)"`.
        module: a module with `__all__`, such as `tftransfer.backbones`.

    Returns:
        `(member, arguments)`: the function or class, and a dict.

    Raises:
        ValueError: for an unknown name or argument, with those there are, or arguments that are not plain values.

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
            f"{text!r} is not understood. Write a name, or a name with plain keyword arguments: "
            f"vit(width=64, depth=2)."
        ) from error
    members = {
        _plain(n): n
        for n in module.__all__
        if _plain(n) not in ("objective", "task", "policy", "stage", "context")
    }
    if _plain(name) not in members:
        raise ValueError(
            f"There is no {name!r} in {module.__name__}; there are {', '.join(sorted(members.values()))}."
        )
    member = getattr(module, members[_plain(name)])
    known = [n for n, p in inspect.signature(member).parameters.items() if p.kind is not p.VAR_KEYWORD]
    unknown = [str(n) for n in arguments if n not in known or n in ("input_shape", "backbone")]
    if unknown:
        known = [n for n in known if n not in ("input_shape", "backbone")]
        raise ValueError(f"{name} has no argument {', '.join(unknown)} here; it has {', '.join(known)}.")
    return member, arguments


def resolve_policy(text):
    """`"linear_probe(epochs=5)+full"` to a `Policy`; names are those of `tftransfer.policies`.

    Example:

    >>> resolve_policy("linear_probe(epochs=2) + full(epochs=3)").epochs
    5
    """
    total, *rest = [build(**arguments) for build, arguments in _policy_calls(text)]
    for part in rest:
        total = total + part
    return total


def policy_text(text):
    """The Python of a policy, for printing.

    Example:

    >>> policy_text("linear_probe(epochs=2)+full")
    'tt.policies.linear_probe(epochs=2) + tt.policies.full()'
    """
    return " + ".join(
        call_text("tt.policies", build, **arguments) for build, arguments in _policy_calls(text)
    )


def _policy_calls(text):
    """`(function, arguments)` of each term of a sum."""
    from tftransfer import policies

    try:
        terms = [ast.parse(text.strip(), mode="eval").body]
    except SyntaxError as error:
        raise ValueError(
            f"{text!r} is not understood. Write stages with plain keyword arguments, chained with +: "
            f"linear_probe(epochs=5)+full(epochs=20)."
        ) from error
    while isinstance(terms[0], ast.BinOp) and isinstance(terms[0].op, ast.Add):
        terms[:1] = [terms[0].left, terms[0].right]
    return [resolve(ast.unparse(term), policies) for term in terms]


def call_text(prefix, function, *first, **arguments):
    """The Python of a call, for printing: `tt.backbones.vit((8, 8, 1), width=64)`."""
    words = [*first, *(f"{name}={value!r}" for name, value in arguments.items())]
    return f"{prefix}.{function.__name__}({', '.join(words)})"


def _plain(name):
    return name.replace("_", "").lower()
