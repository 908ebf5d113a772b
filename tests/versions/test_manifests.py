"""What docs/how-to/kubernetes.md shows is what Kubernetes' own schemas say, every field of it."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "kubernetes.md"
MANIFESTS = [
    manifest
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for manifest in yaml.safe_load_all(block)
]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None,
    reason='kubernetes-validate is installed by make test-versions ARGS="kubernetes"',
)


def test_the_page_has_manifests():
    assert [manifest["kind"] for manifest in MANIFESTS] == ["Deployment"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_a_manifest_is_valid(manifest):
    import kubernetes_validate

    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_a_field_that_kubernetes_does_not_know_is_found():
    import kubernetes_validate

    (manifest,) = MANIFESTS
    wrong = {**manifest, "spec": {**manifest["spec"], "replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)
