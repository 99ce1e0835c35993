"""What browsers get is ours, or vendored as the manifest says."""

from hashlib import sha256
from pathlib import Path

from webapi.pages.page_views.static_files import STATIC
from webapi.pages.vendored_files import VENDOR, read_manifest


def test_each_vendored_file_is_the_one_of_the_manifest() -> None:
    for each in read_manifest():
        assert sha256((VENDOR / each.file).read_bytes()).hexdigest() == each.sha256, each.file
        assert each.version
        assert each.licence


def test_no_file_of_others_is_missing_in_the_manifest() -> None:
    found = {path.name for path in VENDOR.iterdir()} - {"manifest.json"}
    assert found == {each.file for each in read_manifest()}


def test_no_page_asks_another_site_for_anything() -> None:
    ours = [path for path in STATIC.iterdir() if path.is_file()]
    templates = list((Path(STATIC).parent / "templates").rglob("*.html"))
    for path in ours + templates:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        for start in ('src="http', 'href="http', "url(http", "@import", 'fetch("http', "//cdn"):
            assert start not in text, (path.name, start)
