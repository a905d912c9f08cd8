"""mb, rb and ls without an address."""

from __future__ import annotations

from tests.cli.archive import Archive


def test_a_bucket_is_made_listed_and_removed(archive: Archive) -> None:
    """mb makes it, ls shows it, rb takes it away."""
    assert archive.run("mb", "ds3://made-here").expect().stderr == "made ds3://made-here\n"
    assert "made-here" in [row["name"] for row in archive.run("ls", "-o", "json").expect().json]
    assert "made-here" in archive.run("ls").expect().stdout
    archive.run("rb", "made-here").expect()
    assert "made-here" not in archive.run("ls").expect().stdout


def test_quiet_makes_no_noise(archive: Archive) -> None:
    """What went well needs no words."""
    told = archive.run("mb", "ds3://quietly", "-q").expect()
    assert told.stdout + told.stderr == ""


def test_a_result_has_a_shape_where_one_was_asked_for(archive: Archive) -> None:
    """Scripts get a document of every command."""
    assert archive.run("mb", "ds3://shaped", "-o", "json").expect().json == {"bucket": "shaped"}
    assert archive.run("rb", "ds3://shaped", "-o", "json").expect().json == {"bucket": "shaped"}


def test_a_bucket_that_exists_is_not_made_again(archive: Archive) -> None:
    """The appliance's refusal comes through, with its code."""
    bucket = archive.bucket()
    error = archive.run("mb", f"ds3://{bucket}", "-o", "json").expect(1).json["error"]
    assert error["code"] == "BucketAlreadyExists"


def test_a_bucket_that_is_not_there_ends_with_4(archive: Archive) -> None:
    """Removing or listing nothing is told apart from success."""
    for arguments in (["rb", "ds3://nobody"], ["rb", "--force", "-y", "ds3://nobody"], ["ls", "ds3://nobody"]):
        archive.run(*arguments).expect(4)


def test_a_bucket_with_objects_wants_force_and_force_wants_a_yes(archive: Archive) -> None:
    """Neither a slip nor a script without --yes loses a bucket."""
    bucket = archive.bucket("a")
    archive.run("rb", f"ds3://{bucket}").expect(1)
    told = archive.run("rb", "--force", f"ds3://{bucket}").expect(2)
    assert "add --yes" in told.stderr
    assert archive.keys(bucket) == ["a"]
    archive.run("rb", "--force", "--yes", f"ds3://{bucket}").expect()
    assert not archive.client.bucket_exists(bucket)


def test_an_address_with_a_key_is_no_bucket(archive: Archive) -> None:
    """rb ds3://b/key does not remove the bucket b."""
    bucket = archive.bucket()
    for command in ("mb", "rb"):
        archive.run(command, f"ds3://{bucket}/key").expect(2)
    assert archive.client.bucket_exists(bucket)


def test_a_data_policy_is_taken_by_name(archive: Archive) -> None:
    """--data-policy chooses the rules of the new bucket; one nobody knows is refused."""
    policy = next(iter(archive.client.list_data_policies()))
    archive.run("mb", "ds3://with-policy", "--data-policy", policy.name).expect()
    assert archive.client.get_bucket("with-policy").data_policy_id == policy.id
    archive.run("mb", "ds3://without", "--data-policy", "nobody").expect(4)
