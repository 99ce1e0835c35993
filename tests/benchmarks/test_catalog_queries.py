"""The catalog benchmark, on few images."""

from pathlib import Path

from benchmarks.catalog_queries import measure_catalog


def test_every_query_is_measured_on_the_generated_catalog(server_home: Path) -> None:
    figures = measure_catalog(server_home, image_count=3000, runs=2)
    assert figures.pop("catalog_images") == 3000
    questions = {name.removesuffix("_p50_ms").removesuffix("_p95_ms") for name in figures}
    assert questions == {"newest_1000", "count_since", "data_query", "data_page", "data_evaluation"}
