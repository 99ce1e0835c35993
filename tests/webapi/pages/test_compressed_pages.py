"""What each page weighs as Caddy sends it, with the encodings of docker/Caddyfile, to a person with 10,000 classes."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from ml.catalog.database import Catalog
from tests.webapi.pages.test_name_fields import FILL
from tests.webapi.pages.test_whole_site import MOST_BYTES, ask, list_paths

CADDY = Path(sys.executable).with_name("caddy")  # of docker-compose.yml; Debian's is another version
CADDYFILE = Path(__file__).parents[3] / "docker/Caddyfile"
CONFIGURATION = """
{{
	admin off
	auto_https off
}}
http://127.0.0.1:{port} {{
	{encode}
	reverse_proxy {site}
}}
"""


@pytest.fixture
def proxied(site: str, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[str]:
    """The address of the site behind Caddy."""
    port = free_port()
    (encode,) = re.findall(r"^\tencode .*$", CADDYFILE.read_text(), re.MULTILINE)
    text = CONFIGURATION.format(port=port, encode=encode.strip(), site=site)
    (tmp_path / "Caddyfile").write_text(text)
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([CADDY, "run"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            wait_until_listening(process, address, tmp_path / "log")
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_listening(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            requests.get(f"{address}/status", timeout=30)
            return
        except requests.ConnectionError:
            time.sleep(0.1)


def list_files(page: Any, address: str) -> list[str]:
    """The page and all that it loads but photos: icons count."""
    urls: list[str] = []

    def note(response: Any) -> None:
        if response.request.resource_type != "image" or response.url.endswith(".svg"):
            urls.append(response.url)

    page.on("response", note)
    page.goto(address, wait_until="networkidle")
    page.remove_listener("response", note)
    return urls


def test_each_page_is_sent_with_less_than_150_kilobytes(
    log_in_as: Callable[..., Any], proxied: str, photo_file: Path, catalog: Catalog
) -> None:
    with catalog.begin() as connection:
        connection.execute(sa.text(FILL))
    page = log_in_as("clementine", "expert")
    answer = ask(page, photo_file)
    page.goto("/photos")
    image = re.findall(r"/photos/([0-9a-f]{64})/thumbnail", page.content())[0]
    cookies = {each["name"]: each["value"] for each in page.context.cookies()}
    weights: dict[str, dict[str, int]] = {}
    for path in [*list_paths(answer, image), "/login"]:
        if path == "/login":  # it leads on whoever has a session
            page.context.clear_cookies()
            cookies = {}
        urls = list_files(page, f"{proxied}{path}")
        assert any(url.endswith(".css") for url in urls), path
        for encoding in ("gzip", "zstd"):
            headers = {"Accept": "text/html", "Accept-Encoding": encoding}
            for url in urls:
                with requests.get(url, headers=headers, cookies=cookies, stream=True, timeout=30) as sent:
                    body = sent.raw.read(decode_content=False)
                    is_small = int(sent.headers.get("Content-Length", 1000)) < 512  # Caddy leaves those as they are
                    assert sent.headers.get("Content-Encoding") == encoding or is_small, url
                weights.setdefault(path, {}).setdefault(encoding, 0)
                weights[path][encoding] += len(body)
    assert {path: sizes for path, sizes in weights.items() if min(sizes.values()) < 5000} == {}
    assert {path: sizes for path, sizes in weights.items() if max(sizes.values()) >= MOST_BYTES} == {}
