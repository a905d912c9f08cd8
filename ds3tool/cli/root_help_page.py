"""What the top-level help says. Written by `python -m tests.cli.root_help_writer`; not to be edited."""

# ruff: noqa: E501

# The releases whose layout this is.
LAID_OUT_BY = {"typer": "0.29.2", "rich": "15.0.0"}

# Panels: a title (None for text between panels) and rows of what stands left, the text, and a note after it.
PAGE: tuple[tuple[str | None, tuple[tuple[str, str, str], ...]], ...] = (
    (
        None,
        (
            ("", "", ""),
            ("", "\x1b[1;33mUsage:\x1b[0m \x1b[1mds3tool [OPTIONS] COMMAND [ARGS]...\x1b[0m", ""),
            ("", "", ""),
            ("", "Archive to Spectra S3 / DS3 (BlackPearl) tape storage in planned bulk jobs, and get it back.", ""),
            ("", "", ""),
            (
                "",
                "\x1b[2mAddresses are ds3://BUCKET/KEY; a trailing slash means everything below. At the other end is a path, s3://BUCKET/KEY, or lotame://FEED.\x1b[0m",
                "",
            ),
            ("", "", ""),
            (
                "",
                "\x1b[2mThe appliance is named by DS3_ENDPOINT, DS3_ACCESS_KEY and DS3_SECRET_KEY, or by a profile (ds3tool config init). Without one, try the embedded appliance: ds3tool sim serve.\x1b[0m",
                "",
            ),
            ("", "", ""),
        ),
    ),
    (
        "Options",
        (
            ("\x1b[1;36m--version\x1b[0m                             ", "Show the version.", ""),
            (
                "\x1b[1;36m--install-completion\x1b[0m          \x1b[1;2;33m<\x1b[0m\x1b[1;33mbool\x1b[0m\x1b[1;2;33m>\x1b[0m  ",
                "Install completion for the current shell.",
                "",
            ),
            (
                "\x1b[1;36m--show-completion\x1b[0m             \x1b[1;2;33m<\x1b[0m\x1b[1;33mbool\x1b[0m\x1b[1;2;33m>\x1b[0m  ",
                "Show completion for the current shell, to copy it or customize the installation.",
                "",
            ),
            (
                "\x1b[1;36m--help\x1b[0m                \x1b[1;32m-h\x1b[0m      \x1b[1;2;33m<\x1b[0m\x1b[1;33mbool\x1b[0m\x1b[1;2;33m>\x1b[0m  ",
                "Show this message and exit.",
                "",
            ),
        ),
    ),
    (
        "Options every command takes (--log-file also as DS3TOOL_LOG_FILE, ...)",
        (
            (
                "\x1b[1;36m--profile\x1b[0m         \x1b[1;32m-P\x1b[0m      \x1b[1;33mNAME\x1b[0m                      ",
                "Profile of the configuration file; named here, it wins over DS3_ENDPOINT and the keys beside it.",
                "",
            ),
            (
                "\x1b[1;36m--endpoint\x1b[0m                \x1b[1;33mURL\x1b[0m                       ",
                "The appliance: http://HOST, https://HOST or HOST:PORT (also DS3_ENDPOINT, \x1b[1;36m--endpoint-url\x1b[0m).",
                "",
            ),
            (
                "\x1b[1;36m--ca-bundle\x1b[0m               \x1b[1;33mFILE\x1b[0m                      ",
                "Certificates to trust, in PEM format.",
                "",
            ),
            (
                "\x1b[1;36m--no-verify-ssl\x1b[0m                                     ",
                "Accept any certificate, and warn.",
                "",
            ),
            (
                "\x1b[1;36m--proxy\x1b[0m                   \x1b[1;33mURL\x1b[0m                       ",
                "HTTP proxy; without it http_proxy, https_proxy and no_proxy count.",
                "",
            ),
            (
                "\x1b[1;36m--output\x1b[0m          \x1b[1;32m-o\x1b[0m      \x1b[1;2;33m<\x1b[0m\x1b[1;33mtable\x1b[0m\x1b[1;2;33m|\x1b[0m\x1b[1;33mjson\x1b[0m\x1b[1;2;33m|\x1b[0m\x1b[1;33mndjson\x1b[0m\x1b[1;2;33m|\x1b[0m\x1b[1;33mcsv\x1b[0m\x1b[1;2;33m>\x1b[0m   ",
                "Shape of the result on stdout.",
                "\x1b[2m[default: table]\x1b[0m",
            ),
            (
                "\x1b[1;36m--quiet\x1b[0m           \x1b[1;32m-q\x1b[0m                                ",
                "Say only what went wrong.",
                "",
            ),
            (
                "\x1b[1;36m--verbose\x1b[0m         \x1b[1;32m-v\x1b[0m                                ",
                "Log more on stderr; \x1b[1;32m-vv\x1b[0m logs every request.",
                "",
            ),
            (
                "\x1b[1;36m--log-file\x1b[0m                \x1b[1;33mFILE\x1b[0m                      ",
                "Log to a file as well.",
                "",
            ),
            (
                "\x1b[1;36m--log-format\x1b[0m              \x1b[1;2;33m<\x1b[0m\x1b[1;33mtext\x1b[0m\x1b[1;2;33m|\x1b[0m\x1b[1;33mjson\x1b[0m\x1b[1;2;33m>\x1b[0m               ",
                "Shape of log lines.",
                "\x1b[2m[default: text]\x1b[0m",
            ),
            (
                "\x1b[1;36m--progress\x1b[0m                \x1b[1;2;33m<\x1b[0m\x1b[1;33mauto\x1b[0m\x1b[1;2;33m|\x1b[0m\x1b[1;33mbar\x1b[0m\x1b[1;2;33m|\x1b[0m\x1b[1;33mlog\x1b[0m\x1b[1;2;33m|\x1b[0m\x1b[1;33mjson\x1b[0m\x1b[1;2;33m|\x1b[0m\x1b[1;33mnone\x1b[0m\x1b[1;2;33m>\x1b[0m  ",
                "How a running transfer is shown on stderr.",
                "\x1b[2m[default: auto]\x1b[0m",
            ),
            (
                "\x1b[1;36m--no-color\x1b[0m                                          ",
                "No colours; so does NO_COLOR.",
                "",
            ),
            (
                "\x1b[1;36m--yes\x1b[0m             \x1b[1;32m-y\x1b[0m                                ",
                "Answer every question with yes.",
                "",
            ),
            (
                "\x1b[1;36m--state-dir\x1b[0m               \x1b[1;33mDIR\x1b[0m                       ",
                "Where ds3tool remembers things.",
                "",
            ),
            (
                "\x1b[1;36m--config\x1b[0m                  \x1b[1;33mFILE\x1b[0m                      ",
                "Configuration file.",
                "",
            ),
            (
                "\x1b[1;36m--max-retry-time\x1b[0m          \x1b[1;33mDURATION\x1b[0m                  ",
                "Give up after this long without any answer; waits the appliance asks for do not count.",
                "\x1b[2m[default: 15m]\x1b[0m",
            ),
        ),
    ),
    (
        "Look",
        (
            ("\x1b[1;36mls\x1b[0m        ", "List buckets, or what is in one.", ""),
            (
                "\x1b[1;36mtree\x1b[0m      ",
                "Draw what is in a bucket or below a prefix as a tree, with a count at the end.",
                "",
            ),
            (
                "\x1b[1;36mfind\x1b[0m      ",
                "List the objects below an address that all the options choose, one a line.",
                "",
            ),
            (
                "\x1b[1;36mdu\x1b[0m        ",
                "Count objects and bytes below each prefix; the last line is the total.",
                "",
            ),
            (
                "\x1b[1;36mstat\x1b[0m      ",
                "Show an object's size, digests, metadata and blobs, or a bucket's rules.",
                "",
            ),
            (
                "\x1b[1;36mwhere\x1b[0m     ",
                "Show which tapes and pools hold an object, and whether it is in the cache; nothing is mounted.",
                "",
            ),
            (
                "\x1b[1;36mverify\x1b[0m    ",
                "Check what is archived: without mounting a tape, or by reading it back.",
                "",
            ),
            ("\x1b[1;36mcat\x1b[0m       ", "Write objects to stdout, one after the other.", ""),
        ),
    ),
    (
        "Move data",
        (
            (
                "\x1b[1;36mput\x1b[0m       ",
                "Put files, everything below folders, objects of S3, or what comes on stdin into a bucket through bulk jobs.",
                "",
            ),
            (
                "\x1b[1;36mget\x1b[0m       ",
                "Get objects into files, or into S3, through planned bulk jobs; tapes are loaded as needed.",
                "",
            ),
            (
                "\x1b[1;36msync\x1b[0m      ",
                "Make a prefix like a folder, or a folder like a prefix: put or get what is missing, and replace what differs.",
                "",
            ),
            (
                "\x1b[1;36mplan\x1b[0m      ",
                "Say what a put or a get would do, keep it in a file, and do it later.",
                "",
            ),
            (
                "\x1b[1;36mresume\x1b[0m    ",
                "Go on with every put, get and sync of this host that was interrupted: nothing that is there goes twice.",
                "",
            ),
        ),
    ),
    (
        "Buckets and objects",
        (
            ("\x1b[1;36mmb\x1b[0m        ", "Make a bucket.", ""),
            (
                "\x1b[1;36mrb\x1b[0m        ",
                "Remove an empty bucket, or with \x1b[1;36m--force\x1b[0m one that is not.",
                "",
            ),
            ("\x1b[1;36mrm\x1b[0m        ", "Remove objects; data on tape are only marked as deleted.", ""),
            (
                "\x1b[1;36mundelete\x1b[0m  ",
                "Bring back what rm has removed, where the bucket's data policy keeps several versions.",
                "",
            ),
        ),
    ),
    (
        "The appliance",
        (
            ("\x1b[1;36mjob\x1b[0m       ", "List, watch and end the appliance's jobs.", ""),
            ("\x1b[1;36mtape\x1b[0m      ", "List tapes, let them out of the library, take them back in.", ""),
            ("\x1b[1;36mcache\x1b[0m     ", "Show the cache, and make room in it.", ""),
        ),
    ),
    (
        "The other end",
        (
            (
                "\x1b[1;36mlotame\x1b[0m    ",
                "Lotame's DataStream: feeds, what is new in them, their files here or as a table. To archive them: ds3tool put lotame://all ds3://BUCKET/lotame/",
                "",
            ),
            (
                "\x1b[1;36ms3\x1b[0m        ",
                "Look after the S3 side: make, list, copy, remove, link to. put and get move data to and from tape.",
                "",
            ),
            (
                "\x1b[1;36mfirehose\x1b[0m  ",
                "Kinesis Data Firehose: streams, what they have delivered, and which hours are closed.",
                "",
            ),
            (
                "\x1b[1;36msns\x1b[0m       ",
                "Topics of SNS, for \x1b[1;36m--notify\x1b[0m sns:TOPIC_ARN: make one, subscribe to it, try it.",
                "",
            ),
        ),
    ),
    (
        "This host",
        (
            ("\x1b[1;36mconfig\x1b[0m    ", "Write and read the configuration file.", ""),
            (
                "\x1b[1;36mdoctor\x1b[0m    ",
                "Check settings, network, TLS, clocks, keys and the appliance's health, each with its way out.",
                "",
            ),
            (
                "\x1b[1;36mbench\x1b[0m     ",
                "Measure how fast an appliance takes and gives generated data, and what limits it.",
                "",
            ),
            (
                "\x1b[1;36msim\x1b[0m       ",
                "Run an embedded appliance: a whole one in a process, with a cache and tapes.",
                "",
            ),
            (
                "\x1b[1;36mdemo\x1b[0m      ",
                "Archive, persist, eject, restore and verify a tree on an embedded appliance; nothing is left behind.",
                "",
            ),
        ),
    ),
    (
        None,
        (
            ("", "", ""),
            ("", "Exit codes:", ""),
            ("", "    0  everything asked for is done", ""),
            ("", "    1  failed, uncategorised", ""),
            ("", "    2  usage error; nothing was sent", ""),
            ("", "    3  finished, some objects failed; they are listed", ""),
            ("", "    4  bucket, object, job or path not found", ""),
            ("", "    5  integrity failure: bytes came and are wrong", ""),
            ("", "    6  credentials, permission or clock skew", ""),
            ("", "    7  appliance or network unreachable, retries spent", ""),
            ("", "    8  media offline: somebody must load tapes; bar codes are listed", ""),
            ("", "    9  nothing to do, only with \x1b[1;36m--error-if-nothing\x1b[0m", ""),
            ("", "   10  stopped at \x1b[1;36m--max-duration\x1b[0m or a window's end; resumable", ""),
            ("", "   11  locked by another run", ""),
            ("", "   12  the job was cancelled or truncated by a person; `resume JOB` plans the rest anew", ""),
            ("", "  130  interrupted; resumable", ""),
            ("", "", ""),
            ("", "Examples:", ""),
            ("", "  ds3tool ls ds3://archive/2024/", ""),
            ("", "  ds3tool doctor", ""),
            ("", "", ""),
        ),
    ),
)
