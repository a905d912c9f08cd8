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
    """One way to run one peer. `options` are those of the tuned way, empty for the default one."""

    name: str
    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def shown(self) -> str:
        """The name, and whether it was tuned."""
        return f"{self.name} (tuned)" if self.options or self.variables else self.name

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
                return [peers.program("rclone"), "copy", *ends, *_RCLONE, "--s3-endpoint", endpoint, *self.options]
            case "aws cli":
                ends = (f"{folder}/", address) if what == "put" else (address, f"{folder}/")
                copy = ["s3", "cp", "--recursive", "--only-show-errors", *ends]
                return [peers.program("aws"), "--endpoint-url", endpoint, *copy]
            case "obstore":
                script = "with_obstore.py"
            case "boto3":
                script = "with_boto3.py"
            case "boto3 CRT":
                return [*_python("with_boto3.py", what, endpoint, folder, prefix), "--crt", *self.options]
            case _:
                raise SystemExit(f"{self.name} is no peer")
        return [*_python(script, what, endpoint, folder, prefix), *self.options]

    def environ(self, home: Path) -> Mapping[str, str]:
        """Return an environment with keys in it, and with no more checksums than it must make."""
        config = home / f"aws-config-{abs(hash(self))}"
        if not config.exists():
            wanted = "".join(f"  {name} = {value}\n" for name, value in self.variables)
            config.write_text(f"[default]\ns3 =\n  addressing_style = path\n{wanted}")
        return {
            **bare_environment(home),
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(config),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
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


def _python(script: str, what: str, endpoint: str, folder: Path, prefix: str) -> list[str]:
    return [peers.python(), str(_PROGRAMS / script), what, endpoint, str(folder), prefix]


_RCLONE = (
    "--config=", "--s3-provider=Other", "--s3-access-key-id=k", "--s3-secret-access-key=s", "--s3-region=us-east-1",
    "--s3-force-path-style", "--s3-no-check-bucket", "--s3-disable-checksum", "--ignore-checksum",
)  # fmt: skip
_RCLONE_LEAN = ("--s3-no-head", "--no-traverse", "--no-check-dest", "--use-server-modtime", "--no-update-modtime")

LARGE: Mapping[str, Sequence[Peer]] = {
    "s5cmd": (
        Peer("s5cmd"),
        Peer("s5cmd", ("--numworkers", "4", "cp", "--concurrency", "4", "--part-size", "64")),
    ),
    "rclone": (
        Peer("rclone"),
        Peer("rclone", (*_RCLONE_LEAN, "--s3-chunk-size=64M", "--s3-upload-concurrency=4", "--buffer-size=0")),
    ),
    "obstore": (Peer("obstore"), Peer("obstore", ("--at-once", "4", "--part-size", str(64 << 20)))),
    "aws cli": (
        Peer("aws cli"),
        Peer("aws cli", variables=(("max_concurrent_requests", "4"), ("multipart_chunksize", "64MB"))),
    ),
    "boto3": (Peer("boto3"), Peer("boto3", ("--at-once", "4", "--part-size", str(64 << 20)))),
    "boto3 CRT": (Peer("boto3 CRT"), Peer("boto3 CRT", ("--part-size", str(64 << 20)))),
}
SMALL: Mapping[str, Sequence[Peer]] = {
    "s5cmd": (Peer("s5cmd"), Peer("s5cmd", ("--numworkers", "16"))),
    "rclone": (Peer("rclone"), Peer("rclone", (*_RCLONE_LEAN, "--transfers=16", "--checkers=16"))),
    "obstore": (Peer("obstore"), Peer("obstore", ("--at-once", "32"))),
    "aws cli": (Peer("aws cli"), Peer("aws cli", variables=(("max_concurrent_requests", "4"),))),
    "boto3": (Peer("boto3"), Peer("boto3", ("--at-once", "4"))),
    "boto3 CRT": (Peer("boto3 CRT"),),
}
DISTANT: Mapping[str, Sequence[Peer]] = {
    "s5cmd": (Peer("s5cmd"), Peer("s5cmd", ("--numworkers", "32"))),
    "rclone": (Peer("rclone"), Peer("rclone", (*_RCLONE_LEAN, "--transfers=32", "--checkers=32"))),
    "obstore": (Peer("obstore"), Peer("obstore", ("--at-once", "32"))),
}
