"""Muon on stacks of matrices against torch's, one matrix at a time."""

from copy import deepcopy

import torch
from torch import nn
from torch.optim import Muon

from revlm.models.precision import has_bfloat16_units
from revlm.training.muon import StackedMuon, newton_schulz

SHAPES = [(16, 48), (48, 16), (16, 16), (16, 48), (16, 16)]


def matrices():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def train(optimizer, parameters, steps=3):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=generator)
        optimizer.step()
    return optimizer


def test_stacks_move_as_torch_moves_each_matrix():
    """Several steps end where torch's end, up to the rounding of its bfloat16."""
    ours, own = matrices(), matrices()
    start = deepcopy(own)
    options = {"lr": 0.02, "weight_decay": 0.1}
    train(StackedMuon(ours, **options), ours)
    train(Muon(own, **options), own)
    for mine, other, before in zip(ours, own, start, strict=True):
        moved, apart = (other - before).norm(), (mine - other).norm()
        assert moved > 0.1
        assert apart < 0.02 * moved


def test_a_matrix_moves_alike_alone_and_in_a_stack():
    """How many matrices share a shape changes nothing beyond the rounding of the products."""
    together, alone = matrices(), matrices()
    train(StackedMuon(together, lr=0.02), together)
    # Each alone must see the gradients that it has among the others.
    for at in range(len(SHAPES)):
        parameters = matrices()
        optimizer = StackedMuon([parameters[at]], lr=0.02)
        train(optimizer, parameters)
        alone[at] = parameters[at]
    tolerance = 1e-2 if has_bfloat16_units(torch.device("cpu")) else 1e-5
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=tolerance)


def test_states_of_torch_are_continued():
    """A checkpoint of torch's Muon goes on with the same momenta."""
    ours, own = matrices(), matrices()
    state = train(Muon(own, lr=0.02), own).state_dict()
    optimizer = StackedMuon(ours, lr=0.02)
    optimizer.load_state_dict(state)
    for at, p in enumerate(ours):
        assert torch.equal(optimizer.state[p]["momentum_buffer"], state["state"][at]["momentum_buffer"])


def test_iterations_make_singular_values_near_one():
    """Every singular value ends between 0.5 and 1.5, whichever side of the matrix is longer."""
    for shape in ((4, 8, 24), (4, 24, 8)):
        stack = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        flat = newton_schulz(stack, coefficients=(3.4445, -4.7750, 2.0315), steps=5, eps=1e-7)
        values = torch.linalg.svdvals(flat)
        assert values.min() > 0.5
        assert values.max() < 1.5
