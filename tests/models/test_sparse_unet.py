from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.data.rooms import EMPTY_TSDF
from roomseg.errors import UserError
from roomseg.models.sparse_unet import SparseUNet, build_sparse_unet
from tests.models.reference_sparse_unet import ReferenceSparseUNet

CLASSES = 5


def surfaces(sizes: tuple[int, int, int] = (64, 64, 64), batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """x (B, 4, X, Y, Z) with a floor, a wall and scattered voxels, different in each item; labels (B, X, Y, Z)."""
    rng = torch.Generator().manual_seed(seed)
    active = torch.rand(batch, *sizes, generator=rng) < 0.002
    for item in range(batch):
        active[item, : sizes[0] // 2, 3:50, 5 + item : 7 + item] = True
        active[item, 0, :, : sizes[2] // 2] = True
    x = torch.rand(batch, 4, *sizes, generator=rng) * 2 - 1
    x = torch.where(active[:, None], x, torch.tensor([-3.0, -1, -1, -1]).view(1, 4, 1, 1, 1))
    labels = torch.randint(0, CLASSES, (batch, *sizes), generator=rng) * active
    return x, labels.to(torch.uint8)


def small_net(reps: int = 1, residual: bool = False, seed: int = 1) -> SparseUNet:
    """Two planes a level, with norms that are not at their initial values."""
    net = build_sparse_unet(CLASSES, m=2, reps=reps, residual=residual, seed=seed)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=rng))
            elif value.dim() == 1:
                value += 0.3 * torch.randn(value.shape, generator=rng)
    return net


@pytest.mark.parametrize(
    ("m", "reps", "residual", "count"),
    [(16, 1, False, 2_690_430), (16, 2, True, 7_531_742), (32, 1, False, 10_749_662), (32, 2, True, 30_105_502)],
)
def test_parameter_counts(m: int, reps: int, residual: bool, count: int) -> None:
    net = build_sparse_unet(30, m, reps, residual)
    assert sum(p.numel() for p in net.parameters()) == count


def test_published_names() -> None:
    plain = {name: tuple(value.shape) for name, value in build_sparse_unet(30, m=16).state_dict().items()}
    below = "sparseModel.2.1.1.2."
    assert plain["sparseModel.1.weight"] == (27, 1, 4, 16)
    assert plain["sparseModel.2.0.1.weight"] == (27, 1, 16, 16)
    assert plain["sparseModel.2.1.1.1.weight"] == (8, 1, 16, 32)
    assert plain[f"{below}1.1.4.weight"] == (8, 1, 48, 32)
    assert plain[f"{below}3.0.running_var"] == (64,)
    assert plain["sparseModel.2.3.1.weight"] == (27, 1, 32, 16)
    assert plain["linear.weight"] == (30, 16)
    assert not any("num_batches_tracked" in name for name in plain)

    residual = {name: tuple(v.shape) for name, v in build_sparse_unet(30, 16, 2, residual=True).state_dict().items()}
    assert residual["sparseModel.2.2.1.3.weight"] == (27, 1, 16, 16)  # the second block's second convolution
    assert residual["sparseModel.2.4.1.1.weight"] == (8, 1, 16, 32)  # the join after two blocks of two numbers
    assert residual["sparseModel.2.6.0.weight"] == (32, 16)  # the shortcut of the block after the join
    assert residual["sparseModel.2.8.1.0.bias"] == (16,)
    assert "sparseModel.2.0.0.weight" not in residual


def test_eval_logits_equal_masked_dense_convolutions() -> None:
    net = small_net().double().eval()
    x, _ = surfaces()
    active = x[:, 0] > -3
    with torch.no_grad():
        ours = net(x.double()).movedim(1, -1)[active]
        theirs = ReferenceSparseUNet(net.state_dict(), reps=1, residual=False, training=False)(x.double(), active)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize(("reps", "residual"), [(1, False), (2, True)])
def test_training_equals_masked_dense_convolutions(reps: int, residual: bool) -> None:
    net = small_net(reps, residual).double().train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    parameters = dict(net.named_parameters())
    for name in parameters:
        state[name].requires_grad_()
    x, _ = surfaces()
    active = x[:, 0] > -3
    inputs = [x.double().requires_grad_(), x.double().requires_grad_()]

    ours = net(inputs[0]).movedim(1, -1)[active]
    theirs = ReferenceSparseUNet(state, reps, residual, training=True)(inputs[1], active)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-11)

    gradient = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    got = torch.autograd.grad(ours, [inputs[0], *parameters.values()], gradient)
    expected = torch.autograd.grad(theirs, [inputs[1], *(state[name] for name in parameters)], gradient)
    for name, a, b in zip(["x", *parameters], got, expected, strict=True):
        assert b.norm() > 0, name
        assert float((a - b).norm() / b.norm()) < 1e-9, name
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, state[name], atol=1e-11, rtol=1e-11, msg=name)


def test_running_statistics_change_in_training_alone() -> None:
    net, (x, labels) = small_net(), surfaces()
    before = copy.deepcopy(net.state_dict())
    net.eval().loss(x, labels)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.train().loss(x, labels)
    changed = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == [name for name in before if "running" in name]


def test_empty_voxels_get_void_and_predict_is_the_greatest_logit() -> None:
    net, (x, _) = small_net().eval(), surfaces()
    empty = x[:, 0] == EMPTY_TSDF
    with torch.no_grad():
        logits = net(x)
    assert logits.shape == (2, CLASSES, 64, 64, 64)
    probability = logits.softmax(1)[:, 0][empty]
    assert float(probability.min()) > 1 - 1e-6
    labels = net.predict(x)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, logits.argmax(1).to(torch.uint8))
    assert not labels[empty].any()
    assert len(labels[~empty].unique()) > 1


@pytest.mark.parametrize("void_weight", [1.0, 0.1, 0.0])
def test_loss_is_the_weighted_mean_over_active_voxels(void_weight: float) -> None:
    net, (x, labels) = small_net().eval(), surfaces()
    active = x[:, 0] > -3
    class_weight = torch.tensor([void_weight, 1, 1, 1, 1])
    expected = F.cross_entropy(net(x).movedim(1, -1)[active], labels[active].long(), class_weight)
    loss = net.loss(x, labels, void_weight)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-5)
    labels[~active] = 3  # what is said of empty voxels counts for nothing
    assert torch.equal(net.loss(x, labels, void_weight), loss)


def test_a_few_steps_learn() -> None:
    x, _ = surfaces((64, 64, 64), batch=1)
    labels = torch.where(x[:, 0] > -3, torch.where(x[:, 1] > 0, 2, 1), 0).to(torch.uint8)
    net = build_sparse_unet(3, m=4, seed=2)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(25):
        optimizer.zero_grad()
        loss = net.loss(x, labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.4  # ln 2 = 0.69 without the colour that tells the two classes apart


def test_sizes_need_not_be_multiples_of_64() -> None:
    net, (x, _) = small_net().eval(), surfaces((50, 64, 37))
    padded = torch.tensor([-3.0, -1, -1, -1]).view(1, 4, 1, 1, 1).repeat(2, 1, 64, 128, 64)
    padded[:, :, :50, :64, :37] = x
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(padded)[..., :50, :64, :37], atol=1e-5, rtol=1e-5)


def test_an_item_does_not_depend_on_its_batch() -> None:
    net, (x, _) = small_net().eval(), surfaces()
    with torch.no_grad():
        torch.testing.assert_close(net(x), torch.cat([net(x[:1]), net(x[1:])]), atol=1e-5, rtol=1e-5)


def as_points(x: Tensor) -> tuple[Tensor, Tensor]:
    active = x[:, 0] > -3
    return active.nonzero(), x.movedim(1, -1)[active]


def test_points_in_any_order_shifted_by_64_voxels() -> None:
    net, (x, _) = small_net().double().eval(), surfaces()
    coordinates, features = as_points(x.double())
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([3, 64, 0, 128])
    with torch.no_grad():
        logits = net.logits_at(coordinates, features)
        moved = net.logits_at((coordinates + shift)[order], features[order])
    torch.testing.assert_close(moved, logits[order], atol=1e-12, rtol=1e-12)


def test_points_in_the_same_voxel_are_averaged() -> None:
    net, (x, _) = small_net().double().eval(), surfaces()
    coordinates, features = as_points(x.double())
    spread = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    apart = torch.cat([features[:10] + spread, features[10:], features[:10] - spread])
    with torch.no_grad():
        logits = net.logits_at(coordinates, features)
        doubled = net.logits_at(torch.cat([coordinates, coordinates[:10]]), apart)
    torch.testing.assert_close(doubled, torch.cat([logits, logits[:10]]), atol=1e-12, rtol=1e-12)


def test_an_isolated_voxel_trains_with_the_running_statistics() -> None:
    """One site at every level has no variance: training mode is eval mode there, and nothing becomes NaN."""
    net = small_net()
    x = torch.tensor([-3.0, -1, -1, -1]).view(1, 4, 1, 1, 1).repeat(1, 1, 64, 64, 64)
    x[0, :, 5, 6, 7] = torch.tensor([0.1, 0.5, -0.2, 0.3])
    labels = torch.zeros(1, 64, 64, 64, dtype=torch.uint8)
    labels[0, 5, 6, 7] = 2
    before = copy.deepcopy(net.state_dict())
    loss = net.train().loss(x, labels)
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(loss, net.eval().loss(x, labels))


def test_a_block_of_64_voxels_has_one_site_at_the_coarsest_level() -> None:
    net, (x, labels) = small_net().train(), surfaces(batch=1)
    before = copy.deepcopy(net.state_dict())
    assert torch.isfinite(net.loss(x, labels))
    kept = [n for n, value in net.state_dict().items() if "running" in n and torch.equal(value, before[n])]
    coarsest = "sparseModel.2." + 6 * "1.1.2."
    after_it = coarsest.removesuffix("2.") + "3."  # the norm between the coarsest level and the way back up
    assert kept == [f"{n}running_{part}" for n in (f"{coarsest}0.0.", after_it) for part in ("mean", "var")]


def test_a_volume_without_active_voxels() -> None:
    net = small_net().train()
    x = torch.tensor([-3.0, -1, -1, -1]).view(1, 4, 1, 1, 1).repeat(2, 1, 64, 64, 64)
    assert not net.predict(x).any()
    loss = net.loss(x, torch.zeros(2, 64, 64, 64, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in net.parameters())


def test_initial_weights_follow_from_the_seed() -> None:
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    nets = [build_sparse_unet(30, m=16, reps=2, residual=True, seed=seed).state_dict() for seed in (3, 3, 4)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, nets[1][name]) for name, value in nets[0].items())
    assert not torch.equal(nets[0]["sparseModel.1.weight"], nets[2]["sparseModel.1.weight"])
    first, down = nets[0]["sparseModel.2.0.1.1.weight"], nets[0]["sparseModel.2.4.1.1.weight"]
    assert float(first.std()) == pytest.approx((2 / (16 * 27)) ** 0.5, rel=0.03)
    assert float(down.std()) == pytest.approx((2 / (16 * 8)) ** 0.5, rel=0.05)
    assert float(nets[0]["sparseModel.2.6.0.weight"].std()) == pytest.approx((2 / 32) ** 0.5, rel=0.1)


def test_bf16_is_close_to_fp32() -> None:
    net, (x, labels) = build_sparse_unet(CLASSES, m=8, seed=1), surfaces()
    losses, gradients = [], []
    for enabled in (False, True):
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = net.loss(x, labels)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in net.parameters()]))
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert loss.dtype == gradients[1].dtype == torch.float32
    assert float(F.cosine_similarity(gradients[0], gradients[1], dim=0)) > 0.95


def test_a_step_gives_the_same_bits_each_time() -> None:
    x, labels = surfaces()
    runs = []
    for _ in range(2):
        net = small_net()
        net.loss(x, labels, 0.1).backward()
        runs.append([parameter.grad for parameter in net.parameters()])
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_bad_input_is_refused() -> None:
    net, (x, labels) = small_net(), surfaces((8, 8, 64))
    with pytest.raises(UserError, match=r"the volume has the shape \(2, 3, 8, 8, 64\); expected \(B, 4, X, Y, Z\)"):
        net.predict(x[:, :3])
    with pytest.raises(UserError, match=r"labels have the shape \(2, 8, 8, 63\); expected \(2, 8, 8, 64\)"):
        net.loss(x, labels[..., 1:])
    with pytest.raises(UserError, match=r"labels go up to 5; expected 0 to 4 for 5 classes"):
        net.loss(x, labels + 1)
    with pytest.raises(UserError, match=r"coordinates \(7, 3\) and features \(7, 4\); expected \(P, 4\) and \(P, 4\)"):
        net.logits_at(torch.zeros(7, 3, dtype=torch.int64), torch.zeros(7, 4))
    with pytest.raises(UserError, match=r"got classes=30, m=16, reps=0; expected 1 or more of each"):
        build_sparse_unet(30, reps=0)
