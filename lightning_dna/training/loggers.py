"""Loggers beside ``curves.csv``: TensorBoard, Weights & Biases, MLflow, Comet."""

from collections.abc import Callable
from pathlib import Path

from lightning.pytorch.loggers import Logger

from lightning_dna.errors import ConfigError
from lightning_dna.training.config import TrainerConfig


def open_logger(config: TrainerConfig, folder: Path) -> Logger | None:
    """Return the extra logger that is asked for; ``curves.csv`` is always written.

    Args:
        config: Names the logger.
        folder: Of the run.

    Raises:
        ConfigError: If the logger's package is not installed.
    """
    from lightning.pytorch import loggers

    table: dict[str, Callable[[], Logger]] = {
        "tensorboard": lambda: loggers.TensorBoardLogger(
            str(folder), name="", version="tensorboard"
        ),
        "wandb": lambda: loggers.WandbLogger(save_dir=str(folder), project="lightning-dna"),
        "mlflow": lambda: loggers.MLFlowLogger(save_dir=str(folder / "mlflow")),
        "comet": lambda: loggers.CometLogger(),
    }
    if config.logger in ("csv", "none"):
        return None
    try:
        return table[config.logger]()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"trainer.logger is '{config.logger}', but its package is not installed ({error}); "
            "install it or use trainer.logger: csv."
        ) from error
