"""The list of tasks. Each has one line: its name, and the module whose TASK implements it."""

from importlib import import_module
from pathlib import Path

from ml.errors import ModelLoadError, SettingsError
from ml.tasks.task import Model, Task

REGISTERED = {
    "classification": "ml.tasks.classification.classification_task",
}


def find_task(name: str) -> Task:
    """Import a task and return it. This does not import TensorFlow.

    Raises: SettingsError, there is no such task.
    """
    if name not in REGISTERED:
        raise SettingsError(
            f"Expected a task that Mycoflow knows: {', '.join(REGISTERED)}. Received: {name!r}. "
            "Set MYCOFLOW_TASK to one of them."
        )
    task: Task = import_module(REGISTERED[name]).TASK
    return task


def load_model(task: Task, folder: Path) -> Model:
    """Load a version's files as a model for a task.

    Raises: ModelLoadError, the files do not load, or the model was trained for another task.
    """
    model = task.load(folder)
    if model.card.task != task.name:
        raise ModelLoadError(
            f"Expected a model for MYCOFLOW_TASK={task.name} in {folder}. Received one for {model.card.task}. "
            "Serve it from a home with that task."
        )
    return model
