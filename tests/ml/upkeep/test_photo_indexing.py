"""The index of known photos: made at night, with the base backbone's features even where the champion is fine-tuned."""

from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from ml import cycle
from ml.app import Workspace, load_version
from ml.backbones.served_backbone import FINETUNED, find_base_backbone
from ml.catalog.images.photo_vectors import count_vectors
from ml.catalog.models.backbone_records import find_backbone_by_bytes, save_backbone
from ml.catalog.models.model_versions import load_model_version
from ml.catalog.tables import features, items, photo_vectors
from ml.errors import NoChampionError
from ml.reporting.inventory import describe_state


def test_without_a_model_there_is_nothing_to_index_by(workspace: Workspace) -> None:
    with pytest.raises(NoChampionError):
        cycle.index_photos(workspace)


def test_all_known_photos_are_indexed_and_the_status_says_how_many(trained: Workspace) -> None:
    with trained.catalog.begin() as connection:
        connection.execute(sa.delete(photo_vectors))
        pool = connection.scalar(sa.select(sa.func.count()).where(items.c.split == "pool"))
        some = sa.select(items.c.image_sha256).where(items.c.split == "pool").limit(3)
        connection.execute(sa.delete(features).where(features.c.part_sha256.in_(some)))  # no training computed them
    assert "not indexed yet" in describe_state(trained)["similar photos"]
    assert cycle.index_photos(trained) == pool
    assert cycle.index_photos(trained) == 0
    assert describe_state(trained)["similar photos"] == f"found among {pool} photos"
    backbone_id = load_version(trained, 1).card.backbone_id
    with trained.catalog.begin() as connection:
        assert count_vectors(connection, backbone_id) == pool
        vector, kept = connection.execute(
            sa.select(features.c.vector, photo_vectors.c.vector).where(
                features.c.part_sha256 == photo_vectors.c.image_sha256, features.c.view == "identity"
            )
        ).first() or (b"", [])
        np.testing.assert_allclose(np.frombuffer(vector, "<f4"), kept, rtol=1e-6)
        connection.execute(sa.text("DROP EXTENSION vector CASCADE"))
    assert cycle.index_photos(trained) == 0
    assert "the database has no pgvector" in describe_state(trained)["similar photos"]


def test_a_fine_tuned_backbone_has_the_features_of_the_one_that_it_started_from(trained: Workspace) -> None:
    with trained.catalog.begin() as connection:
        own = load_model_version(connection, 1).backbone_id
        assert find_base_backbone(connection, own) == own
        stored = find_backbone_by_bytes(connection, own.partition(":")[0])
        assert stored is not None
        tuned = replace(
            stored, recipe="tuned", onnx_sha256="f" * 64, fp32_sha256="f" * 64, weights_recipe=f"{FINETUNED}{'e' * 64}"
        )
        save_backbone(connection, tuned)
        assert find_base_backbone(connection, f"{'f' * 64}:{own.partition(':')[2]}") == own
        assert find_base_backbone(connection, "unknown:1") == "unknown:1"
