"""What a put was told to put: sources of one kind, and the options that mean something for that kind."""

from collections.abc import Sequence
from dataclasses import field, replace

from ds3tool.addresses import Ds3Address
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.choice import Choice
from ds3tool.cli.layout_options import LayoutOptions
from ds3tool.cli.lotame_options import LotameOptions
from ds3tool.cli.naming import NamesFrom, Naming
from ds3tool.cli.put_kinds import Puttable
from ds3tool.cli.put_sources import FileOptions, FilesPut
from ds3tool.cli.restore_tier import RestoreOptions
from ds3tool.cli.settings import Settings
from ds3tool.errors import UsageError
from ds3tool.jobs.ends import Source
from ds3tool.jobs.run import RunSettings
from ds3tool.lazy_dataclass import dataclass

_LOCAL, _S3, _WEB, _LOTAME = "files of this host", "objects of S3", "URLs", "feeds of Lotame"
_SCHEMES = {"s3": _S3, "http": _WEB, "https": _WEB, "lotame": _LOTAME}


@dataclass(frozen=True, slots=True)
class PutOptions:
    """All that a put was told of what it puts, and how that is called."""

    choice: Choice
    names_from: NamesFrom
    naming: Naming
    files: FileOptions
    aws: AwsOptions
    restore: RestoreOptions
    raw: bool = False
    layout: LayoutOptions = field(default_factory=LayoutOptions)
    lotame: LotameOptions = field(default_factory=LotameOptions)


def what_to_put(
    sources: Sequence[str],
    target: Ds3Address,
    options: PutOptions,
    settings: Settings,
    *,
    run_settings: RunSettings,
    dry_run: bool,
) -> tuple[Puttable, Source]:
    """Return what the sources mean, and what reads of it what the options choose.

    Sees that they are there; with `--restore-tier`, waits until what is archived in S3, and a run with `run_settings`
    would put, can be read. UsageError for
    sources of several kinds, and for options that mean nothing for theirs.
    """
    kinds = {_kind_of(source): source for source in sources}
    if len(kinds) > 1:
        told = " and ".join(f"{source} ({kind})" for kind, source in kinds.items() if kind != _WEB)
        raise UsageError(
            f"sources of several kinds cannot be put at once{f': {told}' if told else ''}",
            hint="put each kind with a command of its own",
        )
    (kind,) = kinds
    options.names_from.check()
    _refuse_meaningless(kind, options)
    if kind == _S3:
        return _s3(sources, target, options, settings, run_settings=run_settings, dry_run=dry_run)
    if kind == _WEB:
        return _web(sources, target, options)
    if kind == _LOTAME:
        return _lotame(sources, target, options, settings, dry_run=dry_run)
    if len(sources) > 1 and options.names_from.files_from is not None:
        raise UsageError("--files-from names what is below one folder, and there are several sources")
    what = FilesPut.below(sources, target, options.naming.renaming(), options.files)
    return what, what.source(wanted=options.choice.filter(), listed=options.names_from.names())


def _kind_of(source: str) -> str:
    scheme, separator, _ = source.partition("://")
    return _SCHEMES.get(scheme.lower(), _LOCAL) if separator else _LOCAL


def _refuse_meaningless(kind: str, options: PutOptions) -> None:
    """Raise UsageError for an option that means nothing for sources of this kind."""
    meaningless = {
        "--preserve": kind != _LOCAL and options.files.preserve,
        "--symlinks": kind != _LOCAL and options.files.symlinks is not FileOptions().symlinks,
        "--raw": kind != _S3 and options.raw,
        "--layout": kind != _S3 and options.layout.layout is not None,
        "--restore-tier": kind != _S3 and options.restore.restore_tier is not None,
    }
    for option, is_given in meaningless.items():
        if is_given:
            raise UsageError(f"{option} means nothing for {kind}")
    options.restore.check()
    options.layout.check(raw=options.raw)


def _s3(
    sources: Sequence[str],
    target: Ds3Address,
    options: PutOptions,
    settings: Settings,
    *,
    run_settings: RunSettings,
    dry_run: bool,
) -> tuple[Puttable, Source]:
    from ds3tool.cli.put_s3 import S3Put
    from ds3tool.cli.restoring import restore_first

    names, aws = options.naming.renaming(), options.aws.settings(settings)
    what = S3Put.below(sources, target, names, aws, raw=options.raw)
    if options.layout.layout is not None:
        from ds3tool.cli.put_layout import FirehosePut

        what = FirehosePut.delivered(sources, target, names, aws, options.layout)
    if options.names_from.files_from is not None:
        what.check_listed()
    wanted = options.choice.filter()
    what.look()
    listed = options.names_from.names()
    if options.restore.restore_tier is not None:
        kept = None if listed is None else list(listed)  # it is walked twice
        restore_first(
            what,
            options.restore,
            wanted=wanted,
            listed=kept,
            bucket=target.bucket,
            run_settings=run_settings,
            settings=settings,
            dry_run=dry_run,
        )
        # A dry run shows what would be put once it is restored.
        return what, replace(what, restored=dry_run).source(wanted=wanted, listed=kept)
    return what, what.source(wanted=wanted, listed=listed)


def _web(sources: Sequence[str], target: Ds3Address, options: PutOptions) -> tuple[Puttable, Source]:
    from ds3tool.cli.put_urls import UrlsPut

    what = UrlsPut.below(sources, target, options.naming.renaming(), options.names_from)
    return what, what.source(wanted=options.choice.filter())


def _lotame(
    sources: Sequence[str], target: Ds3Address, options: PutOptions, settings: Settings, *, dry_run: bool
) -> tuple[Puttable, Source]:
    from ds3tool.cli.lotame_reach import files_of
    from ds3tool.cli.put_lotame import LotamePut

    if (options.choice, options.names_from, options.naming) != (Choice(), NamesFrom(), Naming()):
        raise UsageError(
            "of a feed all is put that the target does not have, by its own names: nothing is chosen, or renamed",
            hint="one feed alone: lotame://FEED",
        )
    reach, aws = options.lotame.reach(settings), files_of(options.aws)
    what = LotamePut.below(sources, target, reach, aws, settings, dry_run=dry_run)
    return what, what.source()
