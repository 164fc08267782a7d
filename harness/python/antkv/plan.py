"""Which recipe each layer of a cache has (generator/CACHE.md, "Plans"), and the kernels that it takes.

Layers may differ in what a page holds: codecs, gain, key position, basis. Lengths, windows and anchors are counted once for all layers, so what they follow from is one."""

from typing import Any, Dict, List, Mapping, Sequence, Union

from .errors import ArgumentError, ContractError

Recipe = Mapping[str, Any]
Plan = Union[str, Recipe, Sequence[Union[str, Recipe]]]
SHARED = ("window", "flush_block", "policy", "budget_permille", "first_tokens")


def plan_of(folder: Any, recipe: Plan, layers: int) -> List[Recipe]:
    """A recipe, by name or members, or one for each layer, as one for each layer. Raises ArgumentError where they are not as many, or differ in what is counted once."""
    plan = [recipe] * layers if isinstance(recipe, (str, Mapping)) else list(recipe)
    if len(plan) != layers:
        raise ArgumentError(f"Cache: {len(plan)} recipes for {layers} layers; give one for all, or one for each")
    plan = [folder.recipe(one) if isinstance(one, str) else one for one in plan]
    for layer, one in enumerate(plan):
        missing = [name for name in ("k", "v", "key", "gain", *SHARED) if name not in one]
        if missing:
            raise ArgumentError(f"Cache: the recipe of layer {layer} has no {', '.join(missing)}; give all members, as manifest.json has them")
        for name in ("budget_tokens", "extra_tokens"):
            if one.get(name):
                raise ArgumentError(f"Cache: {name} is {one[name]}; it keeps budgets per mille alone, torch.ops.antkv.append takes the others")
        for name in SHARED:
            if one[name] != plan[0][name]:
                raise ArgumentError(f"Cache: layer {layer} has {name} {one[name]}, layer 0 has {plan[0][name]}; it is one for all layers of a cache")
    return plan


def exact_dtype(plan: Sequence[Recipe]) -> str:
    """f16 or bf16: what queries, outputs and exact rows are of where nobody says so."""
    return "bf16" if any("bf16" in (one["k"], one["v"]) for one in plan) else "f16"


def contracts_of(folder: Any, recipe: Recipe, head_dim: int, dtype: str, columns: int) -> Dict[str, str]:
    """The contracts of a layer by op. dtype: f16 or bf16. columns: query rows times query heads per KV head. Raises ContractError."""
    axes = {"headDim": head_dim, "dtype": dtype, "k": recipe["k"], "v": recipe["v"], "key": recipe["key"], "gain": recipe["gain"]}
    return {**{op: folder.find(op, **axes) for op in ("encode", "append", "unpack")}, "decode": decode_contract(folder, axes, columns)}


def decode_contract(folder: Any, axes: Mapping[str, Any], columns: int) -> str:
    """Four columns are what one query of up to four heads per KV head fills; folders have such contracts where they are faster."""
    plain = {**axes, "softcap": False, "sink": False}
    if columns <= 4:
        try:
            return folder.find("decode", **plain, columns=4)
        except ContractError:
            pass
    return folder.find("decode", **plain, columns=8)
