"""The loss whose logits are never held."""

import pytest
import torch
import torch.nn.functional as F

from revlm.models.chunked_loss import chunked_cross_entropy


def problem(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(37, 16, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(50, 16, generator=generator).to(dtype).requires_grad_()
    return states, weight, torch.randint(50, (37,), generator=generator)


@pytest.mark.parametrize("chunk", [1, 10, 37, 100])
def test_any_chunk_gives_the_plain_loss_and_its_gradients(chunk):
    """Chunking changes neither the sum nor what it does to weights, to 1e-5."""
    states, weight, targets = problem()
    (3 * chunked_cross_entropy(states, weight, targets, chunk)).backward()
    ours = states.grad.clone(), weight.grad.clone()
    states.grad = weight.grad = None
    plain = F.cross_entropy(states @ weight.T, targets, reduction="sum")
    (3 * plain).backward()
    assert torch.allclose(chunked_cross_entropy(states, weight, targets, chunk), plain, rtol=1e-5)
    for mine, own in zip(ours, (states.grad, weight.grad), strict=True):
        assert torch.allclose(mine, own, atol=1e-4, rtol=1e-5)


def test_lower_precision_rounds_products_and_no_sums():
    """In bfloat16 the loss stays within the rounding of its logits, and gradients keep their dtype."""
    states, weight, targets = problem(torch.bfloat16)
    loss = chunked_cross_entropy(states, weight, targets, 10)
    loss.backward()
    exact = F.cross_entropy(states.double() @ weight.double().T, targets, reduction="sum")
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=5e-3)
    assert states.grad.dtype == weight.grad.dtype == torch.bfloat16


def test_no_targets_cost_nothing():
    """A rank without a row left adds zero."""
    states, weight, targets = problem()
    loss = chunked_cross_entropy(states[:0], weight, targets[:0], 10)
    loss.backward()
    assert loss.item() == 0
    assert not weight.grad.any()
