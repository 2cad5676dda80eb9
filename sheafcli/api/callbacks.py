"""How the trainers of Lightning and Hugging Face call a monitor."""

from __future__ import annotations

from typing import Any, Protocol

from sheafcli.errors import InputError


class Watch(Protocol):
    """What is told of the steps of a training, and of its end."""

    def step(self, number: int | None = None) -> None:
        """Take the number of a step."""

    def close(self, status: str = "finished", message: str | None = None) -> None:
        """Take how it ended."""


def ending(error: BaseException | None) -> tuple[str, str | None]:
    """Return the status that an exception gives a run, and its message."""
    if error is None:
        return "finished", None
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "interrupted"
    return "failed", f"{type(error).__name__}: {error}"


def lightning_callback(watch: Watch) -> Any:
    """Return what calls a monitor from Lightning's Trainer, by either name of the package."""
    try:
        from lightning.pytorch import Callback  # noqa: PLC0415  # an extra
    except ImportError:
        try:
            from pytorch_lightning import Callback  # noqa: PLC0415  # its other name
        except ImportError:
            raise InputError("a callback for Lightning needs it: pip install lightning") from None

    class MonitorCallback(Callback):  # type: ignore[misc]
        """Counts Lightning's optimizer steps."""

        def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
            watch.step(trainer.global_step)

        def on_train_end(self, *_: Any) -> None:
            watch.close()

        def on_exception(self, _trainer: Any, _module: Any, exception: BaseException) -> None:
            watch.close(*ending(exception))

    return MonitorCallback()


def transformers_callback(watch: Watch) -> Any:
    """Return what calls a monitor from Hugging Face's Trainer."""
    try:
        from transformers import TrainerCallback  # noqa: PLC0415  # an extra
    except ImportError:
        raise InputError("a callback for Hugging Face needs transformers: pip install transformers") from None

    class MonitorCallback(TrainerCallback):  # type: ignore[misc]
        """Counts the optimizer steps of Hugging Face's Trainer."""

        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            watch.step(state.global_step)

        def on_train_end(self, *_: Any, **__: Any) -> None:
            watch.close()

    return MonitorCallback()
