"""One run of the list: case after case, each timed, none the end of the others; then everything is taken away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ds3tool.certification.cases import CASES, Case
from ds3tool.certification.ground import Ground
from ds3tool.certification.sheet import Line, NotApplicableError, Sheet, UnexpectedError, Verdict
from ds3tool.errors import Ds3Error, InterruptedRunError


def certify(
    ground: Ground, *, cases: Iterable[Case] = CASES, on_line: Callable[[Line], None] = lambda _: None
) -> Sheet:
    """Try `cases` on `ground`, tell `on_line` of each as it ends, and return the sheet.

    Raises what the appliance says when there is no ground to stand on: no bucket can be had, nobody answers. An
    interruption passes, and what was made is taken away first.
    """
    sheet = Sheet(ground.connection.endpoint, ground.bucket, ground.extent.seed)
    began = time.monotonic()
    numbers = {case.name: number for number, case in enumerate(CASES, start=1)}
    try:
        with ground:
            for case in cases:
                line = _tried(ground, case, numbers[case.name])
                sheet.lines.append(line)
                on_line(line)
    finally:
        sheet.left, sheet.seconds = ground.left, time.monotonic() - began
    return sheet


def _tried(ground: Ground, case: Case, number: int) -> Line:
    began = time.monotonic()
    try:
        seen, verdict = case.run(ground), Verdict.PASS
    except NotApplicableError as error:
        seen, verdict = str(error), Verdict.NOT_APPLICABLE
    except InterruptedRunError:
        raise
    except UnexpectedError as error:
        seen, verdict = str(error), Verdict.FAIL
    except Ds3Error as error:
        seen, verdict = error.message, Verdict.FAIL
    return Line(number, case.name, case.expected, seen, verdict, time.monotonic() - began)
