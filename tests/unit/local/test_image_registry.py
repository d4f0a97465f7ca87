"""ECR as the dispatcher asks it: which image a job will run."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

MANIFEST = """{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
"config": {"digest": "sha256:1"}, "layers": []}"""


def test_an_image_has_a_digest_and_a_missing_one_is_not_found_in_awss_words(aws: Any) -> None:
    ecr = aws.client("ecr")
    ecr.create_repository(repositoryName="images")
    latest = {"repositoryName": "images", "imageIds": [{"imageTag": "latest"}]}
    with pytest.raises(ClientError) as caught:
        ecr.describe_images(**latest)
    error = caught.value.response["Error"]
    assert error["Code"] == "ImageNotFoundException"
    assert error["Message"] == (
        "The image with imageId {imageDigest:'null', imageTag:'latest'} does not exist within the repository "
        "with name 'images' in the registry with id '123456789012'"
    )
    ecr.put_image(repositoryName="images", imageManifest=MANIFEST, imageTag="latest")
    (image,) = ecr.describe_images(**latest)["imageDetails"]
    assert image["imageDigest"].startswith("sha256:")
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        ecr.describe_images(repositoryName="elsewhere")
