"""ONNX's LSTM, GRU and RNN in torch: see ``operators``. One step after the other, so that gradients reach every input."""

from collections.abc import Callable

import torch
from torch import Tensor

from edgepriv.artifact.operators import Attributes, Operator, Unsupported

_Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(input part [B, gates x H], hidden [B, H], cell [B, H]) -> (hidden, cell)."""

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Softsign": torch.nn.functional.softsign,
    "Softplus": torch.nn.functional.softplus,
}


def _recurrent(gates: int, usual: tuple[str, ...], has_cell: bool, step_of: Callable[..., _Step]) -> Operator:
    # The inputs of the operator, in the order of the ONNX specification.
    def run(
        a: Attributes,
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        lengths: Tensor | None = None,
        h: Tensor | None = None,
        c: Tensor | None = None,
        peepholes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        x, h, c = (x, h, c) if not a.get("layout", 0) else (x.transpose(0, 1), _swapped(h), _swapped(c))
        length, batch, hidden = x.shape[0], x.shape[1], r.shape[-1]
        if lengths is not None and bool((lengths != length).any()):
            raise Unsupported("sequences of different lengths in one batch")
        if peepholes is not None or a.get("clip") or a.get("input_forget", 0):
            raise Unsupported("peepholes, clipped or coupled gates")
        activations = _activations(a, usual, len(w))
        outputs, lasts, cells = [], [], []
        for direction in range(len(w)):
            bias = b[direction] if b is not None else x.new_zeros(2 * gates * hidden)
            own, recurrent = bias.split(gates * hidden)
            step = step_of(a, r[direction], recurrent, activations[direction])
            known = x @ w[direction].mT + own
            state = h[direction] if h is not None else x.new_zeros(batch, hidden)
            cell = c[direction] if c is not None else x.new_zeros(batch, hidden)
            backwards = direction == 1 or a.get("direction", "forward") == "reverse"
            seen: list[Tensor] = []
            for position in range(length)[:: -1 if backwards else 1]:
                state, cell = step(known[position], state, cell)
                seen.append(state)
            outputs.append(torch.stack(seen[::-1] if backwards else seen))
            lasts.append(state)
            cells.append(cell)
        every, last = torch.stack(outputs, dim=1), torch.stack(lasts)
        results = [every, last, *([torch.stack(cells)] if has_cell else [])]
        if a.get("layout", 0):
            results = [every.permute(2, 0, 1, 3), *(part.transpose(0, 1) for part in results[1:])]
        return tuple(results)

    return run


def _swapped(state: Tensor | None) -> Tensor | None:
    return None if state is None else state.transpose(0, 1)


def _activations(a: Attributes, usual: tuple[str, ...], directions: int) -> list[list[Callable[[Tensor], Tensor]]]:
    names = [str(name if isinstance(name, str) else name.decode()) for name in a.get("activations", usual * directions)]
    unknown = sorted({name for name in names if name not in _ACTIVATIONS})
    if unknown:
        raise Unsupported(f"activation {', '.join(unknown)}")
    functions = [_ACTIVATIONS[name] for name in names]
    return [functions[start : start + len(usual)] for start in range(0, len(functions), len(usual))]


def _lstm_step(a: Attributes, r: Tensor, bias: Tensor, act: list[Callable[[Tensor], Tensor]]) -> _Step:
    def step(known: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        i, o, f, g = (known + state @ r.mT + bias).chunk(4, dim=1)
        cell = act[0](f) * cell + act[0](i) * act[1](g)
        return act[0](o) * act[2](cell), cell

    return step


def _gru_step(a: Attributes, r: Tensor, bias: Tensor, act: list[Callable[[Tensor], Tensor]]) -> _Step:
    r_gates, r_new = r.split([2 * r.shape[1], r.shape[1]])
    b_gates, b_new = bias.split([2 * r.shape[1], r.shape[1]])

    def step(known: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        known_gates, known_new = known.split([2 * r.shape[1], r.shape[1]], dim=1)
        update, reset = act[0](known_gates + state @ r_gates.mT + b_gates).chunk(2, dim=1)
        if a.get("linear_before_reset", 0):
            new = act[1](known_new + reset * (state @ r_new.mT + b_new))
        else:
            new = act[1](known_new + (reset * state) @ r_new.mT + b_new)
        return (1 - update) * new + update * state, cell

    return step


def _rnn_step(a: Attributes, r: Tensor, bias: Tensor, act: list[Callable[[Tensor], Tensor]]) -> _Step:
    return lambda known, state, cell: (act[0](known + state @ r.mT + bias), cell)


RECURRENT: dict[str, Operator] = {
    "LSTM": _recurrent(4, ("Sigmoid", "Tanh", "Tanh"), True, _lstm_step),
    "GRU": _recurrent(3, ("Sigmoid", "Tanh"), False, _gru_step),
    "RNN": _recurrent(1, ("Tanh",), False, _rnn_step),
}
