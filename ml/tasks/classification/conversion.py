"""Convert a classifier that was trained elsewhere to the files of a model version."""

import hashlib
from pathlib import Path

import numpy as np

from ml.backbones.onnx_runtime import Floats
from ml.backbones.preprocessing import PREPROCESSING_VERSION
from ml.backbones.scales import SCALES
from ml.tasks.card import ModelCard, save_card
from ml.tasks.classification import FILES, NAME
from ml.tasks.classification.converted_graph import ConvertedGraph, convert_graph
from ml.tasks.classification.head import save_head
from ml.tasks.task import CONVERTED, ConvertedModel, ForeignNetwork

_TOLERANCE = 1e-3  # for the sum of the probabilities


def convert_network(network: ForeignNetwork, folder: Path) -> ConvertedModel:
    """Write model.onnx, head.npz and model.json. Outputs that do not add up to 1 are logits: add a softmax.

    Raises: ModelLoadError, the network's graph cannot be converted.
    """
    outputs = network.outputs
    is_distribution = bool((outputs >= -_TOLERANCE).all() and np.allclose(outputs.sum(axis=1), 1, atol=_TOLERANCE))
    graph = convert_graph(network.onnx, network.image_size, SCALES[network.scale], is_distribution)
    _write_files(folder, graph, network)
    return ConvertedModel(outputs if is_distribution else _softmax(outputs), _describe(is_distribution, graph))


def _write_files(folder: Path, graph: ConvertedGraph, network: ForeignNetwork) -> None:
    (folder / "model.onnx").write_bytes(graph.onnx)
    save_head(graph.head, folder / "head.npz")
    sha256 = hashlib.sha256(graph.onnx).hexdigest()
    card = ModelCard(
        classes=network.classes,
        image_size=network.image_size,
        backbone_id=f"{sha256}:{PREPROCESSING_VERSION}",
        backbone_weights=f"run:{network.mlflow_run_id}",
        backbone=CONVERTED,
        precision_reason="The model was converted without quantisation.",
        novelty_reason="Novelty is off: the model was trained elsewhere, on images that are not known here.",
        model_sha256=sha256,
        task=NAME,
        files=FILES,
    )
    save_card(card, folder)


def _softmax(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)


def _describe(is_distribution: bool, graph: ConvertedGraph) -> list[str]:
    notes = []
    if not is_distribution:
        notes.append("Its outputs do not add up to 1: they count as logits, and a softmax was added.")
    if graph.has_features:
        notes.append(f"Its features are the {graph.head.feature_count} inputs of its last dense layer.")
    else:
        notes.append(
            "It does not end in a dense layer: its class scores are used as its features. So drift of the features "
            "shows no more than drift of the answers."
        )
    return notes
