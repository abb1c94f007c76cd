"""The option ``--device`` of commands that run a model."""


def device_named(name: str) -> str:
    """Return the device to compute on, as torch names it.

    Args:
        name: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.

    Raises:
        ConfigError: If the name is unknown, or there is no GPU.
    """
    import torch

    from lightning_dna.errors import ConfigError, unknown_name

    if name not in ("auto", "cpu", "cuda"):
        raise unknown_name("device", name, ("auto", "cpu", "cuda"), where="--device")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: no CUDA device is available; use cpu or auto.")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
