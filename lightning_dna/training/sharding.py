"""Weights spread over several devices: each keeps a part of every tensor and of its moments.

PyTorch's ``fully_shard`` (the second FSDP), block by block: a block's weights are put together on
every device while it works and dropped again, and its gradients are added up where the parts lie.
Lightning's own strategy for it asks for checkpoints of another kind; here a resume point holds
whole tensors, so that any number of devices can go on from it.

References:
    Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, VLDB 2023.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from lightning_dna.models.backbone import Block
from lightning_dna.training.modules import LanguageModule


class ShardedStrategy(DDPStrategy):
    """DDP's set-up of processes, with the weights spread instead of repeated."""

    def configure_ddp(self) -> None:
        """Spread the weights of each block, and together those outside of blocks."""
        module = self.lightning_module
        assert isinstance(module, LanguageModule)  # noqa: S101 - fit builds no other
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        for part in [part for part in module.model.modules() if isinstance(part, Block)]:
            fully_shard(part, mesh=mesh)
        fully_shard(module.model, mesh=mesh)
        register_fsdp_forward_method(module.model, "logits_at")

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Begin each step with every process's own part of the weights.

        A validation leaves those outside of blocks whole, and the gradients of the parts would then
        not be found where a step forgets the last one's.
        """
        module = self.lightning_module
        assert isinstance(module, LanguageModule)  # noqa: S101 - fit builds no other
        assert isinstance(module.model, FSDPModule)  # noqa: S101 - spread in configure_ddp
        module.model.reshard()
        return super().training_step(*args, **kwargs)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the state of the module with whole tensors; every process must ask."""
        state: dict[str, Any] = _mapped(super().lightning_module_state_dict(), whole)
        return state

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the state of an optimizer with whole tensors; every process must ask."""
        state: dict[str, Any] = _mapped(super().optimizer_state(optimizer), whole)
        return state

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's part of an optimizer's state; the weights were whole when loaded."""
        states = checkpoint["optimizer_states"]
        for optimizer, saved in zip(self.optimizers, states, strict=True):
            groups = [group["params"] for group in optimizer.param_groups]
            parameters = [parameter for group in groups for parameter in group]
            for index, values in saved["state"].items():
                for name, value in values.items():
                    if value.ndim:  # the number of steps is the same everywhere
                        values[name] = _as_parameter(value, parameters[index])
            optimizer.load_state_dict(saved)


def whole(value: Any) -> Any:
    """Return a tensor whose parts lie on several devices as one on the CPU, others as they are.

    Every process must ask, for the same tensors in the same order.
    """
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _as_parameter(value: Tensor, parameter: Any) -> Tensor:
    """Spread a whole tensor as a parameter is."""
    if not isinstance(parameter, DTensor):
        return value
    place = value.to(device=parameter.device, dtype=parameter.dtype)
    return distribute_tensor(place, parameter.device_mesh, parameter.placements)


def _mapped(content: Any, change: Callable[[Any], Any]) -> Any:
    """Change every tensor of nested dicts and lists."""
    if isinstance(content, Tensor):
        with torch.no_grad():
            return change(content.detach())
    if isinstance(content, Mapping):
        return {key: _mapped(value, change) for key, value in content.items()}
    if isinstance(content, list):
        return [_mapped(value, change) for value in content]
    return content
