"""The example of docs/own-model.md must work as it is written, up to an answer."""

import os
import re
import subprocess
import sys
from pathlib import Path

from ml.app import Workspace, load_version, mlflow_uri
from ml.backbones.features import read_pixels
from ml.data.evaluation_sets import current_evaluation_set

ROOT = Path(__file__).parents[3]


def test_the_example_is_registered_promoted_and_answers(trained: Workspace, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/own-model.md").read_text(), re.DOTALL)
    settings = trained.settings
    assert settings.database_url is not None
    environment = {
        **os.environ,
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": mlflow_uri(settings),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }

    def run(*command: str) -> str:
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=False, text=True, timeout=300
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    run_id = run(sys.executable, "-c", example).split()[-1]
    mycoflow = str(Path(sys.executable).with_name("mycoflow"))
    said = run(mycoflow, "register", run_id)
    assert "Converted from a Keras model that takes 32 pixels" in said
    assert "Version 2: " in said
    assert "Version 2 is in production." in run(mycoflow, "promote", "2")
    assert trained.registry.champion() == 2
    with trained.catalog.begin() as connection:
        members = current_evaluation_set(connection)[1]
    classifier = load_version(trained, 2)
    pixels = read_pixels(trained.catalog, [each.demand_image() for each in members], classifier.card.image_size)
    named = classifier.predict(pixels).probabilities.argmax(axis=1)
    truth = [classifier.card.classes.index(each.annotation.label) for each in members]
    assert (named == truth).mean() > 0.9
