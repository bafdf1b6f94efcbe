"""Loading weights strictly, with an error that says what does not fit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from roomseg.errors import UserError


def load_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights under the networks' own (published) names; raises ``UserError`` for the first that does not fit.

    ``state`` may be a published checkpoint, ``{"state_dict": ...}``; integer index tables in it follow from the
    architecture and are left out.
    """
    state = state.get("state_dict", state)  # type: ignore[assignment]
    derived = ("relative_position_index", "attn_mask")
    weights = {name: value for name, value in state.items() if not any(part in name for part in derived)}
    expected = network.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        _check_fits(name, expected.get(name), weights.get(name), type(network).__name__)
    network.load_state_dict(weights, strict=True)


def _check_fits(name: str, expected: Tensor | None, got: Tensor | None, network: str) -> None:
    if expected is None or got is None:
        what = "has no" if got is None else "has an unknown"
        raise UserError(f"the checkpoint {what} {name}: got weights of another network, expected a {network}'s")
    if expected.shape != got.shape:
        raise UserError(
            f"the checkpoint's {name} is {tuple(got.shape)}, expected {tuple(expected.shape)}: "
            f"it is of another size or number of classes than this {network}"
        )
