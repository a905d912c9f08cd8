"""Documents rewritten on their way out, as other releases and other appliances write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ds3tool.simulator.quirks import Quirk
from ds3tool.simulator.wire.messages import FileSlices, Reply

Rewrite = Callable[[str], str]

_ATTRIBUTE = r'[^"]*'
_TAG = re.compile(r"<(MasterObjectList|Jobs|Job|Nodes|Node|Objects|Object)((?: [A-Za-z]+=\"[^\"]*\")*)(/?)>")
# What jobs and blobs have since release 3.2. Source: protocol, 17.
_LATE_ATTRIBUTES = re.compile(
    r"(<Object(?= )|<(?:MasterObjectList|Job)(?: [A-Za-z]+=\"[^\"]*\")*?) (?:Bucket|EntirelyInCache)=\"[^\"]*\""
)
_ONE_ATTRIBUTE = re.compile(r' ([A-Za-z]+)="([^"]*)"')
_FIRST_TAG = re.compile(r"<([A-Za-z]+)((?: [A-Za-z]+=\"[^\"]*\")*)(/?)>")
_WHOLE_DATE = re.compile(r'([">])(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d\.\d{3})Z(?=["<])')
_EMPTY_BLOB = re.compile(rf'<Object(?: [A-Za-z]+="{_ATTRIBUTE}")* Length="0"(?: [A-Za-z]+="{_ATTRIBUTE}")*/>')
_EMPTY_CHUNK = re.compile(rf'<Objects(?: [A-Za-z]+="{_ATTRIBUTE}")*></Objects>')
CHUNK = re.compile(rf'<Objects ChunkId="({_ATTRIBUTE})"[^>]*>.*?</Objects>', re.DOTALL)

# What a job, a chunk and a blob cannot do without.
_NEEDED = {
    "MasterObjectList": {"JobId", "RequestType", "BucketName", "Status"},
    "Job": {"JobId", "RequestType", "BucketName", "Status", "Name"},
    "Node": {"Id"},
    "Objects": {"ChunkId", "ChunkNumber"},
    "Object": {"Name", "Offset", "Length", "InCache", "Id", "VersionId", "Version"},
}
_MAY_BE_EMPTY = (
    *("CachedSizeInBytes", "CompletedSizeInBytes", "OriginalSizeInBytes", "StartDate", "EntirelyInCache", "HttpPort"),
    *("ChunkNumber", "CreatedAt", "DateCompleted", "DateCanceled", "CreationDate", "MaxKeys", "TotalRawCapacity"),
    *("AvailableRawCapacity", "LogicalUsedCapacity", "LastPreferredChunkSizeInBytes", "DefaultBlobSize"),
    *("MaxVersionsToKeep", "LastModifiedDate", "LastAccessed", "Empty", "Protected", "UsedCapacityInBytes", "Naked"),
    *("Aggregating", "BlobsInCache", "BlobsTotal", "EjectDate", "Truncated", "FullOfData"),
)
_EMPTY_ATTRIBUTE = re.compile(rf' ({"|".join(_MAY_BE_EMPTY)})="{_ATTRIBUTE}"')
_EMPTY_ELEMENT = re.compile(rf"<({'|'.join(_MAY_BE_EMPTY)})>[^<]*</\1>")
_NEW_ELEMENT = '<Provenance Kind="new"><Depth>3</Depth><Depth/></Provenance>'
_NEW_WORDS = (
    (re.compile(r'( Priority="|<Priority>|<DefaultPutJobPriority>)[A-Z]+'), r"\1GLACIAL"),
    (re.compile(r'( ChunkClientProcessingOrderGuarantee="|<ChunkClientProcessingOrderGuarantee>)[A-Z_]+'), r"\1MOSTLY"),
    (re.compile(r"(<Tape>.*?<State>)NORMAL", re.DOTALL), r"\1RESTING"),
    (re.compile(r"(<Type>)(?:LTO\d|DATA|FOLDER)(?=<)"), r"\1PUNCHED_CARD"),
    (re.compile(r'( Status=")IN_PROGRESS'), r"\1UNDER_WAY"),
)


def _only_needed(match: re.Match[str]) -> str:
    name, attributes, end = match.groups()
    needed = _NEEDED.get(name)
    if needed is None:
        return match[0]
    kept = "".join(f' {key}="{value}"' for key, value in _ONE_ATTRIBUTE.findall(attributes) if key in needed)
    return f"<{name}{kept}{end}>"


def few_attributes(text: str) -> str:
    """Leave out of jobs, nodes, chunks and blobs every attribute that a client can do without."""
    return _TAG.sub(_only_needed, text)


def lean_blobs(text: str) -> str:
    """Leave out the bucket of each blob, and of jobs whether they are in the cache as a whole."""
    return _LATE_ATTRIBUTES.sub(r"\1", text)


def empty_values(text: str) -> str:
    """Leave numbers, dates and truths that a client can do without empty."""
    return _EMPTY_ELEMENT.sub(r"<\1/>", _EMPTY_ATTRIBUTE.sub(r' \1=""', text))


def unknown_words(text: str) -> str:
    """Add elements and attributes that nobody knows, and put unknown words into enumerations."""
    for pattern, replacement in _NEW_WORDS:
        text = pattern.sub(replacement, text)
    text = _TAG.sub(lambda match: f'<{match[1]}{match[2]} Provenance="new"{match[3]}>', text)
    root = _FIRST_TAG.search(text)
    if root is None or root[3]:
        return text
    close = text.rindex("</")
    return f"{text[: root.end()]}{_NEW_ELEMENT}{text[root.end() : close]}{_NEW_ELEMENT}{text[close:]}"


def integer_versions(text: str) -> str:
    """Put `Version="1"` where the version's id stands, and leave it out of listings."""
    text = re.sub(rf' VersionId="{_ATTRIBUTE}"', ' Version="1"', text)
    return re.sub(r"<VersionId>[^<]*</VersionId>", "", text)


def old_dates(text: str) -> str:
    """Write dates with a blank and without a zone."""
    return _WHOLE_DATE.sub(r"\1\2 \3", text)


def chunks_from_zero(text: str) -> str:
    """Count chunks from 0."""
    return re.sub(r' ChunkNumber="(\d+)"', lambda match: f' ChunkNumber="{int(match[1]) - 1}"', text)


def without_empty_blobs(text: str) -> str:
    """Leave blobs of length 0 out of chunks, and chunks out that have no others."""
    return _EMPTY_CHUNK.sub("", _EMPTY_BLOB.sub("", text))


def nodes_elsewhere(text: str) -> str:
    """Give nodes no address that could be reached."""
    text = re.sub(rf' EndPoint="{_ATTRIBUTE}"', ' EndPoint="FAILED_TO_DETERMINE_DATAPATH_IP_ADDRESS"', text)
    return re.sub(rf' HttpPort="{_ATTRIBUTE}"', ' HttpPort="1"', text)


def without_chunks(text: str) -> str:
    """Leave every chunk out."""
    return CHUNK.sub("", text)


# Applied in this order: what removes and renames comes before what adds.
REWRITES: Mapping[Quirk, Rewrite] = {
    Quirk.EMPTY_AT_CREATION: without_empty_blobs,
    Quirk.INTEGER_VERSIONS: integer_versions,
    Quirk.LEAN_BLOBS: lean_blobs,
    Quirk.FEW_ATTRIBUTES: few_attributes,
    Quirk.CHUNKS_FROM_ZERO: chunks_from_zero,
    Quirk.EMPTY_VALUES: empty_values,
    Quirk.OLD_DATES: old_dates,
    Quirk.NODES_ELSEWHERE: nodes_elsewhere,
    Quirk.UNKNOWN_WORDS: unknown_words,
}


def text_of(reply: Reply) -> str:
    """Return a document as text; one that waits in a file is read, for `with_text` to replace."""
    if isinstance(reply.body, FileSlices):
        try:
            data = b"".join(reply.body.pieces())
        finally:
            reply.body.close()
        reply.body = data
    return reply.body.decode()


def with_text(reply: Reply, text: str) -> Reply:
    """Return a reply with another document in it."""
    return Reply(reply.status, reply.headers, text.encode(), reply.content_type)
