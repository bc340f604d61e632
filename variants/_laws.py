"""What every head must obey. The tests run these laws on all heads, `bench check-head` on a file of your own."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from variants import HeadError, build, describe
from variants._base import Head, Repr
from variants._soundness import check_declarations, check_gradients, check_local_matches, check_scores, demand

SHAPE = (16, 4, 2)
"""(d, h, w) of the feature maps on which laws are tried."""

SMALL = {"feedforward": 24, "layers": 2}
QUERIES, GALLERY = 5, 7

Law = Callable[[str, dict], None]


def all_laws() -> dict[str, Law]:
    """Every law by its name; each takes a head's name (or path) and options, and raises LawBroken if it is broken."""
    return {law.__name__: law for law in _LAWS}


def make(name: str, options: dict) -> Head:
    """A small head with fixed random weights and statistics, in evaluation mode."""
    small = {key: value for key, value in SMALL.items() if key in describe(name).options}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        head = build(name, SHAPE, **{**small, **options})
        for module in head.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    return head.eval()


def maps(count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random feature maps [count, d, h, w]."""
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scores_have_their_shape_and_are_finite(name: str, options: dict) -> None:
    """`encode` keeps the number of images, `match` gives [Q, G] finite real logits, the same each time."""
    check_scores(make(name, options), maps(QUERIES, 1), maps(GALLERY, 2))


def encode_sees_one_image_at_a_time(name: str, options: dict) -> None:
    """Encoding a batch equals encoding each image alone."""
    head, images = make(name, options), maps(QUERIES, 1)
    together = head.encode(images)
    alone = Repr.join([head.encode(image[None]) for image in images])
    for (part, one), (_, other) in zip(together.items(), alone.items(), strict=True):
        _close(one, other, f"{part} of an image depends on the other images of its batch")


def blocks_give_the_scores_of_the_whole(name: str, options: dict) -> None:
    """Matching slices of queries and gallery gives the same scores as matching all at once."""
    head = make(name, options)
    query, gallery = head.encode(maps(QUERIES, 1)), head.encode(maps(GALLERY, 2))
    rows = [
        torch.cat([head.match(query[top : top + 2], gallery[left : left + 3]) for left in range(0, GALLERY, 3)], 1)
        for top in range(0, QUERIES, 2)
    ]
    _close(torch.cat(rows), head.match(query, gallery), "scores depend on how the pairs are cut into blocks")


def permuting_the_gallery_permutes_the_columns(name: str, options: dict) -> None:
    """A gallery in another order gives the same columns in that order."""
    head = make(name, options)
    query, gallery = head.encode(maps(QUERIES, 1)), head.encode(maps(GALLERY, 2))
    order = torch.randperm(GALLERY, generator=torch.Generator().manual_seed(5))
    _close(head.match(query, gallery[order]), head.match(query, gallery)[:, order], "scores depend on gallery order")


def saving_a_repr_keeps_the_scores(name: str, options: dict) -> None:
    """A Repr that was saved and loaded scores as before, to the bit."""
    head = make(name, options)
    query = head.encode(maps(QUERIES, 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "repr.pt"
        query.save(path)
        loaded = Repr.load(path)
    demand(torch.equal(head.match(loaded, loaded[:]), head.match(query, query[:])), "saving changed the scores")


def a_copy_scores_as_the_same_object(name: str, options: dict) -> None:
    """match(r, r) equals match(r, copy of r), in evaluation and in training mode."""
    for training in (False, True):
        head = make(name, options).train(training)
        query = head.encode(maps(QUERIES, 1))
        twin = copy.deepcopy(head)
        same = Repr(**{part: tensor.clone() for part, tensor in query.items()})
        _close(
            head.match(query, query), twin.match(query, same), "scores of a batch with itself and with a copy differ"
        )


def the_plain_form_scores_the_same(name: str, options: dict) -> None:
    """`plain_match` gives the scores of `match`, in evaluation and in training mode."""
    for training in (False, True):
        head = make(name, options).train(training)
        query, gallery = head.encode(maps(QUERIES, 1)), head.encode(maps(GALLERY, 2))
        twin = copy.deepcopy(head)
        _close(head.match(query, gallery), twin.plain_match(query, gallery), "match and plain_match score differently")
        _close(head.match(query, query), twin.plain_match(query, query), "match and plain_match score differently")


def declared_products_are_those_of_the_plain_form(name: str, options: dict) -> None:
    """Where products are declared, they are all that PyTorch counts in `encode` and `plain_match`."""
    head = make(name, options).train()
    for part in (head, head.matcher()):
        declared = part.encode_products(QUERIES), part.match_products(QUERIES, GALLERY)
        if not any(declared):
            continue
        images = maps(QUERIES, 1)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as encoding:
            query = part.encode(images)
        gallery = part.encode(maps(GALLERY, 2))
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as matching:
            part.plain_match(query, gallery)
        for what, products, counted in zip(("encode", "match"), declared, (encoding, matching), strict=True):
            flop, real = sum(product.flop() for product in products), counted.get_total_flops()
            demand(flop == real, f"{what}_products declares {flop} floating-point operations, PyTorch counts {real}")


def declared_symmetry_holds(name: str, options: dict) -> None:
    """Where `symmetric` is declared, swapping the images changes no score."""
    head = make(name, options)
    query, gallery = head.encode(maps(QUERIES, 1)), head.encode(maps(GALLERY, 2))
    if head.symmetric:
        _close(
            head.match(query, gallery), head.match(gallery, query).T, "declared symmetric, but swapping changes scores"
        )


def bfloat16_scores_are_close(name: str, options: dict) -> None:
    """Representations and products in bfloat16 give scores in float32 that are close to those of float32."""
    head = make(name, options)
    with torch.inference_mode():
        query, gallery = head.encode(maps(QUERIES, 1)), head.encode(maps(GALLERY, 2))
        exact = head.match(query, gallery)
        if not head.exact_representations:
            query, gallery = (
                Repr(**{part: tensor.bfloat16() for part, tensor in each.items()}) for each in (query, gallery)
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=not head.takes_16_bits):
                found = head.match(query, gallery)
            demand(
                found.dtype == torch.float32,
                f"scores in bfloat16 come as {found.dtype}, where they tie: give them in float32, or say "
                "exact_representations = True",
            )
            off = float((found - exact).norm() / (exact - exact.mean()).norm())
            demand(off < 0.1, f"scores in bfloat16 differ by {off:.0%} of the spread of scores")


def local_matches_are_those_of_each_pair(name: str, options: dict) -> None:
    """Where local matches are offered, their levels are sound, and each pair's are those of the pair alone."""
    head = make(name, options)
    if not head.offers_local_matches:
        return
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            query, gallery = head.encode(maps(QUERIES, 1)), head.encode(maps(QUERIES, 2))
            together = check_local_matches(head, query, gallery)
            for pair in range(QUERIES):
                one = slice(pair, pair + 1)
                alone = check_local_matches(head, query[one], gallery[one])
                demand(len(alone) == len(together), "the number of levels depends on the number of pairs")
                for here, there in zip(alone, together, strict=True):
                    demand(here.level == there.level, "the names of levels depend on the pairs")
                    for part in ("similarity", "weight", "score"):
                        whole = getattr(there, part)
                        _close(getattr(here, part), whole[one], f"{part} of a pair depends on the other pairs", whole)


def evaluation_keeps_no_state(name: str, options: dict) -> None:
    """In evaluation mode neither call changes anything in the head."""
    head = make(name, options)
    before = copy.deepcopy(head.state_dict())
    query = head.encode(maps(QUERIES, 1))
    head.match(query, query)
    if head.offers_local_matches:
        head.local_matches(query, query)
    changed = [key for key, value in head.state_dict().items() if not torch.equal(value, before[key])]
    demand(not changed, f"evaluation changed {', '.join(changed)}")


def norms_over_pairs_update_once_per_call(name: str, options: dict) -> None:
    """In training one `match` call updates each of its batch norms exactly once."""
    head = make(name, options).train()
    query = head.encode(maps(QUERIES, 1))
    before = {key: value.clone() for key, value in head.state_dict().items() if key.endswith("num_batches_tracked")}
    head.match(query, query)
    for key, value in before.items():
        updates = int(head.state_dict()[key] - value)
        demand(updates == 1, f"{key}: {updates} updates in one match call")


def gradients_reach_all_but_void_parameters(name: str, options: dict) -> None:
    """In training every trainable parameter learns, unless declared void; a void one does not."""
    head = make(name, options).double().train()
    for module in head.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eps = 1e-30  # a norm cancels scales up to its eps; without it, exactly
    found = head.encode(maps(QUERIES, 1, torch.float64))
    weights = torch.randn(QUERIES, QUERIES, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    (head.match(found, found).sigmoid() * weights).sum().backward()
    void = head.void_parameters()
    # In float64 rounding leaves about 1e-16 where a norm cancels a gradient; real ones are far above.
    for parameter, value in head.named_parameters():
        size = 0.0 if value.grad is None else float(value.grad.abs().max())
        demand(math.isfinite(size), f"the gradient of {parameter} is not finite")
        if parameter in void:
            demand(size < 1e-10, f"{parameter} is declared void, but its gradient is {size:.1e}")
        else:
            demand(size > 1e-9, f"{parameter} gets no gradient and is not declared void")


def gradients_are_finite(name: str, options: dict) -> None:
    """In training no gradient is infinite or no number, where an image meets itself and where it meets its double."""
    check_gradients(make(name, options), maps(QUERIES, 1))


def declarations_are_sound(name: str, options: dict) -> None:
    """What a head declares has the type that the contract says; names are those of parameters, sizes are positive."""
    check_declarations(make(name, options))


def unknown_options_are_refused_by_name(name: str, options: dict) -> None:
    """An option that the head does not have is an error that names it."""
    try:
        build(name, SHAPE, **options, no_such_option=1)
    except HeadError as fault:
        demand("no_such_option" in str(fault), f"the error does not name the option: {fault}")
    else:
        demand(False, "an unknown option was accepted")


_LAWS: tuple[Law, ...] = (
    scores_have_their_shape_and_are_finite,
    encode_sees_one_image_at_a_time,
    blocks_give_the_scores_of_the_whole,
    permuting_the_gallery_permutes_the_columns,
    saving_a_repr_keeps_the_scores,
    a_copy_scores_as_the_same_object,
    the_plain_form_scores_the_same,
    declared_products_are_those_of_the_plain_form,
    declared_symmetry_holds,
    bfloat16_scores_are_close,
    local_matches_are_those_of_each_pair,
    evaluation_keeps_no_state,
    norms_over_pairs_update_once_per_call,
    gradients_are_finite,
    gradients_reach_all_but_void_parameters,
    declarations_are_sound,
    unknown_options_are_refused_by_name,
)


def _close(one: Tensor, other: Tensor, message: str, scale: Tensor | None = None) -> None:
    """Up to rounding, as it is where the largest values are those of `scale`, or of `other`."""
    one, other = one.detach(), other.detach()
    difference = float((one - other).abs().max())
    largest = float((other if scale is None else scale).abs().max())
    demand(difference <= 1e-4 * max(1e-4, largest), f"{message} (by up to {difference:.1e})")
