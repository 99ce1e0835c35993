"""Files of others that browsers get: `python -m webapi.pages.vendored_files` fetches them again from npm.

`static/vendor/manifest.json` names each file's package, version, licence and SHA-256. To take another version, change
the version there and run this: it prints the new hashes to put there. A test compares files and manifest.
"""

import io
import json
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from urllib.request import urlopen

from pydantic import BaseModel, TypeAdapter

VENDOR = Path(__file__).parent / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"
_TARBALL = "https://registry.npmjs.org/{package}/-/{name}-{version}.tgz"


class VendoredFile(BaseModel):
    """One file.

    Args: file, its name here; path, its name in the package.
    """

    file: str
    package: str
    version: str
    path: str
    licence: str
    sha256: str


def read_manifest() -> list[VendoredFile]:
    """Return what the manifest says."""
    return TypeAdapter(list[VendoredFile]).validate_python(json.loads(MANIFEST.read_text()))


def main() -> int:
    """Fetch all files. Return 1 if one has another hash than the manifest says."""
    is_wrong = False
    for each in read_manifest():
        content = _fetch(each)
        found = sha256(content).hexdigest()
        (VENDOR / each.file).write_bytes(content)
        if found != each.sha256:
            sys.stderr.write(f"{each.file}: the manifest says {each.sha256}, npm has {found}.\n")
            is_wrong = True
    return int(is_wrong)


def _fetch(wanted: VendoredFile) -> bytes:
    name = wanted.package.rpartition("/")[2]
    address = _TARBALL.format(package=wanted.package, name=name, version=wanted.version)
    with urlopen(address) as answer, tarfile.open(fileobj=io.BytesIO(answer.read())) as package:  # noqa: S310 - https
        file = package.extractfile(wanted.path)
        if file is None:
            raise FileNotFoundError(f"Expected {wanted.path} in {address}, got no such file.")
        return file.read()


if __name__ == "__main__":
    sys.exit(main())
