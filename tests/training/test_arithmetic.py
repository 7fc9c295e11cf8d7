"""What a run settles once: precision and compiling."""

import pytest
import torch

from revlm.config import TrainerConfig
from revlm.models.nll import TokenLoss
from revlm.records.folder import check_same_run, settled, write_config
from revlm.training import arithmetic

SHORT, LONG = 1e9, 1e20


def settle(remembered=None, flops=SHORT, **options):
    config = TrainerConfig(accelerator="cpu", **options)
    arithmetic.settle(config, remembered or {}, flops=flops)
    return config.precision, config.compile


def test_processors_compute_in_float32_unless_told_otherwise():
    """A number from one laptop is the number of another, whatever units their processors have."""
    assert settle()[0] == "32-true"
    assert settle(precision="bf16-mixed")[0] == "bf16-mixed"


def test_a_continued_run_computes_as_it_began():
    """Neither another machine nor a longer budget changes the arithmetic in the middle of a run."""
    assert settle({"precision": "bf16-mixed", "compile": False}, LONG) == ("bf16-mixed", False)
    assert settle({"precision": "32-true", "compile": True}) == ("32-true", True)


def test_runs_of_before_go_on_in_float32():
    """A config.yaml that says auto was written when auto meant float32 on a processor, uncompiled."""
    assert settle({"precision": "auto"}, LONG) == ("32-true", False)


def test_only_long_runs_are_compiled():
    """Compiling takes as long as a short run."""
    assert settle(flops=SHORT)[1] is False
    assert settle(flops=LONG)[1] is arithmetic.can_compile(torch.device("cpu"))
    assert settle(flops=LONG, compile=False)[1] is False


def test_options_left_open_continue_any_run(tmp_path):
    """What a run settled does not count as another option when it is continued without one."""
    write_config(tmp_path, {"trainer": {"precision": "bf16-mixed", "compile": True}, "seed": 0})
    assert settled(tmp_path) == {"precision": "bf16-mixed", "compile": True}
    check_same_run(tmp_path, {"trainer": {"precision": "auto", "compile": None}, "seed": 0})
    with pytest.raises(Exception, match=r"trainer\.precision=bf16-mixed, not 32-true"):
        check_same_run(tmp_path, {"trainer": {"precision": "32-true", "compile": None}, "seed": 0})


@pytest.mark.slow
def test_a_compiled_body_gives_the_plain_losses_and_gradients(tiny_lm):
    """Compiled or not, packed or not: the same to 1e-5."""
    torch.manual_seed(0)
    ids = torch.randint(4, 512, (4, 33))
    packed = torch.cat((torch.arange(13), torch.arange(20))).expand(4, 33)
    for positions in (torch.arange(33).expand(4, 33), packed):
        sums, grads = [], []
        for compiled in (False, True):
            loss = TokenLoss(tiny_lm)
            if compiled:
                loss.compile()
            total = loss.sum_nll(ids, ids, positions)
            total.backward()
            sums.append(total.item())
            grads.append([p.grad.clone() for p in tiny_lm.parameters()])
            tiny_lm.zero_grad()
        assert sums[1] == pytest.approx(sums[0], rel=1e-5)
        for plain, other in zip(*grads, strict=True):
            assert torch.allclose(plain, other, atol=1e-4, rtol=1e-4)
