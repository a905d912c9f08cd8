"""How each peer is run: as it comes, and with the settings under which it was found quickest here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.programs import Taken, bare_environment, run
from benchmarks.trees import Targets, files_below

BUCKET = "bench"
_PROGRAMS = Path(__file__).parent / "peer_programs"


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to run one peer.

    `options` and `variables` (of the AWS configuration) are those of a tuned way. `lean`: without the digests that it
    can be asked to leave out, of which a signature over the body is one.
    """

    name: str
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    lean: bool = False

    @property
    def shown(self) -> str:
        """The name, and how it differs from what it does by itself."""
        parts = ["tuned"] if self.options or self.variables else []
        parts += ["no digests"] if self.lean else []
        return f"{self.name} ({', '.join(parts)})" if parts else self.name

    def command(self, what: str, endpoint: str, folder: Path, prefix: str) -> list[str]:
        """Return what puts the files below `folder` under `prefix`, or gets what is there into `folder`."""
        address = f"s3://{BUCKET}/{prefix}"
        match self.name:
            case "s5cmd":
                split = self.options.index("cp") if "cp" in self.options else len(self.options)
                ends = (f"{folder}/*", address) if what == "put" else (f"{address}*", f"{folder}/")
                command = [peers.program("s5cmd"), "--log", "error", "--endpoint-url", endpoint, *self.options[:split]]
                return [*command, "cp", *self.options[split + 1 :], *ends]
            case "rclone":
                far = f":s3:{BUCKET}/{prefix}"
                ends = (str(folder), far) if what == "put" else (far, str(folder))
                lean = _RCLONE_LEAN if self.lean else ()
                command = [peers.program("rclone"), "copy", *ends, *_RCLONE, "--s3-endpoint", endpoint]
                return [*command, *lean, *self.options]
            case "aws cli":
                ends = (f"{folder}/", address) if what == "put" else (address, f"{folder}/")
                copy = ["s3", "cp", "--recursive", "--only-show-errors", *ends]
                return [peers.program("aws"), "--endpoint-url", endpoint, *copy]
            case "obstore" | "boto3" | "boto3 CRT":
                script = _PROGRAMS / ("with_obstore.py" if self.name == "obstore" else "with_boto3.py")
                command = [peers.python(), str(script), what, endpoint, str(folder), prefix, *self.options]
                command += ["--lean"] if self.lean else []
                return [*command, "--crt"] if self.name == "boto3 CRT" else command
            case _:
                raise SystemExit(f"{self.name} is no peer")

    def environ(self, home: Path) -> Mapping[str, str]:
        """Return an environment with keys in it."""
        config = home / f"aws-config-{abs(hash(self))}"
        lean = (("payload_signing_enabled", "false"),) if self.lean else ()
        if not config.exists():
            wanted = "".join(f"  {name} = {value}\n" for name, value in (*self.variables, *lean))
            config.write_text(f"[default]\ns3 =\n  addressing_style = path\n{wanted}")
        checksums = "when_required" if self.lean else "when_supported"
        return {
            **bare_environment(home),
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(config),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REQUEST_CHECKSUM_CALCULATION": checksums,
            "AWS_RESPONSE_CHECKSUM_VALIDATION": checksums,
        }

    def put(self, endpoint: str, folder: Path, prefix: str, home: Path) -> Taken:
        """Put a tree."""
        return run(self.command("put", endpoint, folder, prefix), environ=self.environ(home), folder=home)

    def get(self, endpoint: str, prefix: str, home: Path, targets: Targets, load: tuple[int, int]) -> Taken:
        """Get what is below a prefix; SystemExit unless so many files of so many bytes in all came."""
        with targets.room() as folder:
            taken = run(self.command("get", endpoint, folder, prefix), environ=self.environ(home), folder=home)
            if (came := files_below(folder)) != load:
                raise SystemExit(f"{self.shown} got {came[0]} files with {came[1]} bytes, and not {load}")
        return taken


def chosen(known: Mapping[str, Sequence[Peer]], asked: str) -> list[str]:
    """Return the names of the peers that were asked for: `all`, `none`, or names with commas between."""
    if asked in {"all", "none"}:
        return list(known) if asked == "all" else []
    names = [name.strip() for name in asked.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def quicker(ways: Sequence[Peer], trial: Callable[[Peer], float]) -> Peer:
    """Return the way of which `trial` tells the fewest seconds; each is tried once, and one alone not at all."""
    return ways[0] if len(ways) == 1 else min(ways, key=trial)


_RCLONE = (
    "--config=", "--s3-provider=Other", "--s3-access-key-id=k", "--s3-secret-access-key=s", "--s3-region=us-east-1",
    "--s3-force-path-style", "--s3-no-check-bucket",
)  # fmt: skip
_RCLONE_LEAN = ("--s3-disable-checksum", "--ignore-checksum", "--s3-use-unsigned-payload=true")
# It asks less about what is there, and what has come.
_RCLONE_TRUSTING = ("--s3-no-head", "--no-traverse", "--no-check-dest", "--use-server-modtime", "--no-update-modtime")
_S5CMD_LARGE = ("--numworkers", "4", "cp", "--concurrency", "4", "--part-size", "64")
_RCLONE_LARGE = (*_RCLONE_TRUSTING, "--s3-chunk-size=64M", "--s3-upload-concurrency=4", "--buffer-size=0")
_AT_ONCE_LARGE = ("--at-once", "4", "--part-size", str(64 << 20))
_AWS_LARGE = (("max_concurrent_requests", "4"), ("multipart_chunksize", "64MB"))
_CRT_LARGE = ("--part-size", str(64 << 20))

# The ways of each peer, the one that it comes with first.
LARGE: Mapping[str, Sequence[Peer]] = {
    "s5cmd": (Peer("s5cmd"), Peer("s5cmd", _S5CMD_LARGE)),
    "rclone": (Peer("rclone"), Peer("rclone", _RCLONE_LARGE)),
    "obstore": (Peer("obstore"), Peer("obstore", _AT_ONCE_LARGE)),
    "aws cli": (Peer("aws cli"), Peer("aws cli", variables=_AWS_LARGE)),
    "boto3": (Peer("boto3"), Peer("boto3", _AT_ONCE_LARGE)),
    "boto3 CRT": (Peer("boto3 CRT"), Peer("boto3 CRT", _CRT_LARGE)),
}
# Those that can be told to make no digests of what they put.
LARGE_LEAN: Mapping[str, Sequence[Peer]] = {
    "rclone": (Peer("rclone", lean=True), Peer("rclone", _RCLONE_LARGE, lean=True)),
    "obstore": (Peer("obstore", lean=True), Peer("obstore", _AT_ONCE_LARGE, lean=True)),
    "boto3": (Peer("boto3", lean=True), Peer("boto3", _AT_ONCE_LARGE, lean=True)),
}
SMALL: Mapping[str, Sequence[Peer]] = {
    "s5cmd": (Peer("s5cmd"), Peer("s5cmd", ("--numworkers", "16"))),
    "rclone": (Peer("rclone"), Peer("rclone", (*_RCLONE_TRUSTING, "--transfers=16", "--checkers=16"), lean=True)),
    "obstore": (Peer("obstore"), Peer("obstore", ("--at-once", "32"), lean=True)),
    "aws cli": (Peer("aws cli"), Peer("aws cli", variables=(("max_concurrent_requests", "4"),), lean=True)),
    "boto3": (Peer("boto3"), Peer("boto3", ("--at-once", "4"), lean=True)),
    "boto3 CRT": (Peer("boto3 CRT"),),
}
DISTANT: Mapping[str, Sequence[Peer]] = {
    "s5cmd": (Peer("s5cmd"), Peer("s5cmd", ("--numworkers", "32"))),
    "rclone": (Peer("rclone"), Peer("rclone", (*_RCLONE_TRUSTING, "--transfers=32", "--checkers=32"), lean=True)),
    "obstore": (Peer("obstore"), Peer("obstore", ("--at-once", "32"), lean=True)),
}
