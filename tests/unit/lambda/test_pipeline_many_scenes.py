"""Ten thousand scenes are three arrays, submitted within the time of the function."""

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from lambda_platform import Platform

PAGE = 1000


def serve_folders(count: int) -> list[str]:
    """Listings of photos/batch/ as S3 gives them, a thousand folders at a time: moto takes minutes for them."""
    from aws import clients as aws_clients

    sent: list[str] = []

    def answer(request: Any, **_: Any) -> AWSResponse | None:
        query = parse_qs(urlsplit(request.url).query)
        sent.append(request.url)
        if query.get("prefix") != ["photos/batch/"] or "delimiter" not in query:
            return None
        first = int(query.get("continuation-token", ["0"])[0])
        last = min(first + PAGE, count)
        folders = "".join(
            f"<CommonPrefixes><Prefix>photos/batch/scene-{index:05}/</Prefix></CommonPrefixes>"
            for index in range(first, last)
        )
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < count else ""
        truncated = str(last < count).lower()
        response = AWSResponse(request.url, 200, {}, None)  # type: ignore[arg-type]
        response._content = (
            f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{folders}</ListBucketResult>".encode()
        )
        return response

    aws_clients.client("s3").meta.events.register_first("before-send.s3", answer)
    return sent


def scenes(inputs: str) -> dict[str, Any]:
    return {"trigger_type": "splat_pipeline", "data": {"inputs": inputs}}


def seconds_of_cpu() -> float:
    times = os.times()
    return times.user + times.system


@pytest.mark.parametrize("way", ["folder", "list"])
def test_ten_thousand_scenes_are_three_arrays_at_a_small_part_of_the_functions_time(
    platform: Platform, way: str
) -> None:
    inputs = "photos/batch/"
    if way == "list":
        inputs = "lists/all.json"
        names = [{"name": f"Scene {index}", "input": f"photos/batch/scene-{index:05}/"} for index in range(10_000)]
        platform.put("demo-input", inputs, names)
    sent = serve_folders(10_000)
    before = seconds_of_cpu()

    answer = platform.dispatch(scenes(inputs))

    # The function has a third of a core and 60 seconds.
    assert seconds_of_cpu() - before < 10
    assert len(sent) < 30
    assert [each["arrayProperties"] for each in platform.submissions] == [{"size": 10_000}] * 3
    stored = platform.stored(f"{answer['output'].removeprefix('s3://demo-output/')}scenes.json")
    assert len(stored) == 10_000
    assert stored[-1]["input"] == ["s3://demo-input/photos/batch/scene-09999/"]


def test_one_scene_too_many_is_refused_before_all_are_listed(platform: Platform) -> None:
    serve_folders(10_001)

    answer = platform.dispatch(scenes("photos/batch/"))

    assert "at most 10000 scenes" in answer["refused"]
    assert platform.submissions == []


def test_a_folder_of_countless_scenes_is_not_listed_to_its_end(platform: Platform) -> None:
    sent = serve_folders(10_000_000)

    assert "at most 10000 scenes" in platform.dispatch(scenes("photos/batch/"))["refused"]
    assert len(sent) < 20
