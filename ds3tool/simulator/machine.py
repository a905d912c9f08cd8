"""The appliance without its HTTP face: all parts put together, what a new one starts with, start and end."""

from __future__ import annotations

import base64
import email.utils
import random
import secrets
import string
import uuid
from pathlib import Path

from ds3tool.protocol.model import JobStatus, JobType
from ds3tool.simulator.access import Access
from ds3tool.simulator.buckets import Buckets
from ds3tool.simulator.cache import Cache
from ds3tool.simulator.clock import Clock, SimulatedClock
from ds3tool.simulator.events import ObjectsDropped
from ds3tool.simulator.faults import Faults
from ds3tool.simulator.history import BucketHistory
from ds3tool.simulator.ids import IdFamily
from ds3tool.simulator.jobs.assembly import Assembly
from ds3tool.simulator.jobs.backend import Backend
from ds3tool.simulator.jobs.book import JobBook
from ds3tool.simulator.jobs.job import Job
from ds3tool.simulator.jobs.multipart import Multiparts
from ds3tool.simulator.jobs.naked import NakedPuts
from ds3tool.simulator.jobs.plans import Planner
from ds3tool.simulator.jobs.reach import Reach
from ds3tool.simulator.jobs.replication import Replication
from ds3tool.simulator.jobs.safety import Safety
from ds3tool.simulator.jobs.transfers import Transfers
from ds3tool.simulator.notifications import Notifications
from ds3tool.simulator.objects import Objects
from ds3tool.simulator.records.beans import Beans, Fields
from ds3tool.simulator.settings import ApplianceSettings
from ds3tool.simulator.store import Store
from ds3tool.simulator.tapes.degraded import Degradation
from ds3tool.simulator.tapes.drives import Drives
from ds3tool.simulator.tapes.failures import Failures
from ds3tool.simulator.tapes.ledger import Ledger, Spent
from ds3tool.simulator.tapes.library import Library
from ds3tool.simulator.tapes.mechanics import GENERATIONS, ROBOT_MOVE_SECONDS
from ds3tool.simulator.tapes.policies import TapePolicies
from ds3tool.simulator.tapes.rebuilding import Rebuilder
from ds3tool.simulator.tapes.upkeep import Upkeep
from ds3tool.simulator.tapes.workshop import Workshop
from ds3tool.simulator.wire.signatures import SecretKey

_ADMINISTRATOR = "Administrator"
_SECRET_LENGTH = 16


class Machine:
    """One appliance's parts. Each is used under its own rules about the store's lock; `start` sets the drives going."""

    def __init__(
        self,
        directory: Path,
        settings: ApplianceSettings,
        clock: Clock | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.settings = settings
        self.faults = faults or Faults(settings.faults, seed=settings.seed)
        self.clock: Clock = SimulatedClock(settings.pace) if clock is None else clock
        self._dated = (-1, "")
        self.directory = directory
        # Where the HTTP face listens; set when it does.
        self.port = settings.port
        self.store = Store(directory / "state.sqlite")
        self._random = self._chance()
        try:
            self._build(directory, settings)
        except BaseException:
            self.store.close()
            raise

    def _chance(self) -> random.Random:
        """Return what ids are drawn from: with a seed the same ones each time, after a restart others than before."""
        if self.settings.seed is None:
            return random.SystemRandom()
        starts = self.store.meta("starts")
        return random.Random(self.settings.seed if starts is None else f"{self.settings.seed} {starts}")  # noqa: S311 - repeatable on purpose

    def _build(self, directory: Path, settings: ApplianceSettings) -> None:
        store = self.store
        if isinstance(self.clock, SimulatedClock):
            self.clock.resume(directory / "clock")
        self.ledger = Ledger(self.clock.monotonic, self.clock.world.monotonic)
        self.beans = Beans(store)
        self.instance_id = store.meta("instance") or self._set_up()
        self._adopt_keys()
        # A capacity that was set by request outlives the process that it was set in.
        capacity = self.beans.all("CacheFilesystem")[0].get("MaxCapacityInBytes") or settings.cache_size
        self.cache = Cache(store, directory / "cache", capacity, self.faults)
        self.jobs = JobBook(store, self.cache, self.clock, settings, self.instance_id)
        self.blob_ids = IdFamily(self.instance_id, "blob")
        self.buckets = Buckets(store, self.beans)
        self.access = Access(store, self.beans, self.buckets)
        self.access.set_up(self.new_id, str(self.administrator["Id"]))
        self.degraded = Degradation(store, self.beans, self.instance_id)
        object_ids = IdFamily(self.instance_id, "object")
        self.objects = Objects(store, self.cache, self.jobs, self.clock, object_ids)
        history_ids = IdFamily(self.instance_id, "history")
        self.history = BucketHistory(store, self.buckets, self.clock, history_ids, object_ids)
        self.notifications = Notifications(
            store=store,
            beans=self.beans,
            buckets=self.buckets,
            jobs=self.jobs,
            history=self.history,
            clock=self.clock,
            faults=self.faults,
            blob_ids=self.blob_ids,
            object_ids=object_ids,
            own_port=lambda: self.port,
        )
        self.failures = Failures(store, self.beans, self.clock, self.jobs.failure_ids)
        self.library = Library(
            store=store,
            beans=self.beans,
            clock=self.clock,
            directory=directory / "tapes",
            changed=self.jobs.changed,
            failures=self.failures,
            delay=lambda: settings.robot_delay or (2 * ROBOT_MOVE_SECONDS if settings.timed else 0.0),
            slots=max(settings.slots, settings.tapes),
            ports=settings.entry_exit_slots,
        )
        self.library.robot.moved = lambda tape, seconds: self.ledger.add(Spent.ROBOT, seconds, tape=tape.bar_code)
        self._add_tapes()
        self.backend = Backend(self.beans, settings, self.clock)
        self.safety = Safety(self.beans, self.library)
        reach = Reach(
            store=store,
            beans=self.beans,
            objects=self.objects,
            failure_ids=self.jobs.failure_ids,
            clock=self.clock,
        )
        self.planner = Planner(
            store=store,
            buckets=self.buckets,
            objects=self.objects,
            jobs=self.jobs,
            reach=reach,
            backend=self.backend,
            clock=self.clock,
            settings=settings,
        )
        self.naked = NakedPuts(
            store=store,
            buckets=self.buckets,
            objects=self.objects,
            cache=self.cache,
            jobs=self.jobs,
            planner=self.planner,
            backend=self.backend,
            clock=self.clock,
            settings=settings,
        )
        self.multiparts = Multiparts(
            store=store,
            buckets=self.buckets,
            naked=self.naked,
            clock=self.clock,
            directory=directory / "parts",
            ids=IdFamily(self.instance_id, "upload"),
        )
        self.assembly = Assembly(
            store=store,
            buckets=self.buckets,
            cache=self.cache,
            naked=self.naked,
            planner=self.planner,
            multiparts=self.multiparts,
            settings=settings,
            stopped=lambda: self.jobs.closing,
        )
        self.replication = Replication(
            store=store,
            buckets=self.buckets,
            objects=self.objects,
            planner=self.planner,
            blob_ids=self.blob_ids,
            settings=settings,
        )
        self.transfers = Transfers(
            store=store,
            buckets=self.buckets,
            objects=self.objects,
            cache=self.cache,
            jobs=self.jobs,
            planner=self.planner,
            naked=self.naked,
            clock=self.clock,
            settings=settings,
        )
        self.drives = Drives(
            store=store,
            beans=self.beans,
            buckets=self.buckets,
            cache=self.cache,
            jobs=self.jobs,
            library=self.library,
            failures=self.failures,
            clock=self.clock,
            ledger=self.ledger,
            watch=self._clean_up,
            faults=self.faults,
            count=settings.drives,
            timed=settings.timed,
        )
        self.upkeep = Upkeep(self)
        self.workshop = Workshop(self)
        self.drives.soiled = self.workshop.clean
        self.rebuild = Rebuilder(self)
        self.tape_policies = TapePolicies(self)
        self._recover()
        self._users: tuple[int, dict[str, tuple[Fields, SecretKey]]] = (-1, {})

    def start(self) -> None:
        """Set the drives going."""
        with self.store.lock:
            self.upkeep.resume()
            self.workshop.resume()
            self.rebuild.resume()
        self.drives.start()
        self.notifications.start()

    def release_waiters(self) -> None:
        """Let no request wait any longer, since the appliance is about to close."""
        with self.jobs.changed:
            self.jobs.closing = True
            self.jobs.changed.notify_all()

    def close(self) -> None:
        """Stop the drives and close the state; once, when no request is under way."""
        self.notifications.close()
        self.drives.close()
        if isinstance(self.clock, SimulatedClock):
            self.clock.leave()
        self.store.close()

    # A new appliance.

    def new_id(self) -> str:
        """Return a new UUID, from the seed when there is one."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _set_up(self) -> str:
        instance = self.new_id()
        beans, settings = self.beans, self.settings
        with self.store.writing():
            self.store.remember("instance", instance)
            node = beans.add(
                "Node", self.new_id(), {"Name": "sim", "SerialNumber": "5003048000000001", "DnsName": None}
            )
            beans.add("CacheFilesystem", self.new_id(), {"NodeId": node["Id"]})
            beans.add("DataPathBackend", self.new_id(), {"Activated": True})
            library = beans.add(
                "TapeLibrary",
                self.new_id(),
                {"ManagementUrl": "", "Name": "Simulated library", "SerialNumber": "SIMLIB01"},
            )
            partition = beans.add(
                "TapePartition",
                self.new_id(),
                {
                    "DriveType": self.settings.tape_type,
                    "LibraryId": library["Id"],
                    "Name": "Partition 1",
                    "SerialNumber": "SIMPART01",
                },
            )
            policy = beans.add("DataPolicy", self.new_id(), self.policy_defaults())
            for number in range(settings.copies):
                self._add_domain(number, str(policy["Id"]), str(partition["Id"]))
            user = {
                "Name": _ADMINISTRATOR,
                "AuthId": base64.b64encode(_ADMINISTRATOR.encode()).decode(),
                "SecretKey": self.new_secret(),
                "DefaultDataPolicyId": policy["Id"],
                "MaxBuckets": 10_000,
            }
            beans.add("User", self.new_id(), user)
        return instance

    def policy_defaults(self) -> Fields:
        """Return the fields of a data policy as this appliance makes them."""
        return {
            "AlwaysForcePutJobCreation": False,
            "AlwaysMinimizeSpanningAcrossMedia": False,
            "BlobbingEnabled": True,
            "ChecksumType": self.settings.checksum_type.value,
            "CreationDate": self.clock.now(),
            "DefaultBlobSize": None,
            "DefaultGetJobPriority": "HIGH",
            "DefaultPutJobPriority": "NORMAL",
            "DefaultVerifyAfterWrite": False,
            "DefaultVerifyJobPriority": "LOW",
            "EndToEndCrcRequired": False,
            "MaxVersionsToKeep": 1000,
            "Name": "Single copy on tape" if self.settings.copies == 1 else "Two copies on tape",
            "RebuildPriority": "LOW",
            "Versioning": self.settings.versioning.value,
        }

    def _add_domain(self, number: int, policy: str, partition: str) -> None:
        name = ("Tape first copy", "Tape second copy")[number]
        domain = self.beans.add("StorageDomain", self.new_id(), {"Name": name, "MediaEjectionAllowed": True})
        self.beans.add(
            "StorageDomainMember",
            self.new_id(),
            {"StorageDomainId": domain["Id"], "TapePartitionId": partition, "TapeType": self.settings.tape_type},
        )
        self.beans.add(
            "DataPersistenceRule",
            self.new_id(),
            {
                "DataPolicyId": policy,
                "IsolationLevel": "STANDARD",
                "MinimumDaysToRetain": None,
                "State": "NORMAL",
                "StorageDomainId": domain["Id"],
                "Type": "PERMANENT",
            },
        )

    def new_secret(self) -> str:
        """Return a made-up secret key."""
        letters = string.ascii_letters + string.digits
        if self.settings.seed is None:
            return "".join(secrets.choice(letters) for _ in range(_SECRET_LENGTH))
        return "".join(self._random.choice(letters) for _ in range(_SECRET_LENGTH))

    def _adopt_keys(self) -> None:
        changes: Fields = {}
        if self.settings.access_key is not None:
            changes["AuthId"] = self.settings.access_key
        if self.settings.secret_key is not None:
            changes["SecretKey"] = self.settings.secret_key
        administrator = self.administrator
        if any(administrator[name] != value for name, value in changes.items()):
            self.beans.update("User", str(administrator["Id"]), changes)

    @property
    def administrator(self) -> Fields:
        """The user that every appliance has."""
        return self.beans.all("User")[0]

    @property
    def node(self) -> Fields:
        """The one node."""
        return self.beans.all("Node")[0]

    def _add_tapes(self) -> None:
        for each in self.beans.all("TapePartition"):
            if "Quiesced" not in each:  # new, or of a state that an earlier release left
                self.beans.update(
                    "TapePartition", each["Id"], {"ImportExportConfiguration": "SUPPORTED", "Quiesced": "NO"}
                )
        partition = str(self.beans.all("TapePartition")[0]["Id"])
        with self.store.writing():
            for number in range(len(self.library.tapes) + 1, self.settings.tapes + 1):
                suffix = GENERATIONS[self.settings.tape_type].suffix
                bar_code = f"SIM{number:03d}{suffix}"
                self.library.add(
                    self.new_id(), bar_code, self.settings.tape_type, partition, self.settings.tape_capacity
                )
        for number in range(len(self.beans.all("TapeDrive")) + 1, self.settings.drives + 1):
            self._add_drive(partition, number)

    def _add_drive(self, partition: str, number: int) -> None:
        self.beans.add(
            "TapeDrive",
            self.new_id(),
            {"PartitionId": partition, "SerialNumber": f"SIMDRIVE{number:03d}", "Type": self.settings.tape_type},
        )

    # Continuing.

    def _recover(self) -> None:
        with self.store.lock:
            lost = self.cache.recover()
            with self.store.writing() as db:
                for blob in lost:  # what was acknowledged is gone with its file: it has to be sent again
                    db.execute(
                        "UPDATE objects SET created = NULL, etag = NULL "
                        "WHERE n = (SELECT object FROM blobs WHERE n = ?)",
                        (blob,),
                    )
                    db.execute("UPDATE blobs SET checksum = NULL WHERE n = ?", (blob,))
            self.cache.used += self.jobs.recover() + self.multiparts.recover()

    def user(self, access_id: str) -> tuple[Fields, SecretKey] | None:
        """Return the user with this access id and its key, ready to sign."""
        # Read without the lock, which every request would wait for: what is read is replaced as a whole.
        known = self._users
        changes = self.beans.changes("User")
        if known[0] != changes:
            users = self.beans.all("User")
            self._users = known = (changes, {each["AuthId"]: (each, SecretKey(each["SecretKey"])) for each in users})
        return known[1].get(access_id)

    def http_date(self, seconds: float) -> str:
        """Return a date as HTTP headers have it; the last one asked for is remembered, since many ask for `now`."""
        whole = int(seconds)
        if self._dated[0] != whole:
            self._dated = (whole, email.utils.formatdate(whole, usegmt=True))
        return self._dated[1]

    # Ending jobs by force.

    def cancel(self, job: Job, *, timed_out: bool = False) -> None:
        """Cancel a job, with the lock held: objects of a put that are not on every tape go with it."""
        job.canceling, job.timed_out = True, timed_out
        if job.type is JobType.PUT:
            with self.store.writing() as db:
                numbers = [
                    number
                    for (number,) in db.execute(
                        "SELECT n FROM objects o WHERE job = ? AND (created IS NULL OR EXISTS "
                        "(SELECT 1 FROM blobs b WHERE b.object = o.n AND b.persisted = 0))",
                        (job.n,),
                    ).fetchall()
                ]
                self.store.events.tell(ObjectsDropped(job, numbers))
                self.objects.remove(db, numbers)
        if job.active:
            self.jobs.end(job, JobStatus.CANCELED)

    def truncate(self, job: Job) -> None:
        """Give up what has not come, with the lock held; what is complete in the cache goes on to tape."""
        job.truncated, job.aggregating = True, False
        self.jobs.save(job)
        if job.type is not JobType.PUT:
            self.jobs.end(job, JobStatus.CANCELED)
            return
        with self.store.writing() as db:
            query = "SELECT n FROM objects WHERE job = ? AND created IS NULL"
            numbers = [number for (number,) in db.execute(query, (job.n,)).fetchall()]
            self.store.events.tell(ObjectsDropped(job, numbers))
            self.objects.remove(db, numbers)
        self.jobs.close(job)

    def _clean_up(self) -> None:
        self.jobs.forget_old()
        self.rebuild.look()
        self.tape_policies.look()
        self.history.forget_old()
        self.jobs.end_waiting()
        self.multiparts.forget_old()
        for job in self.jobs.idle():
            job.error = "No client has touched the job for too long."
            if job.type is JobType.PUT and self.objects.count("job = ? AND created IS NOT NULL LIMIT 1", (job.n,)):
                job.timed_out = True
                self.truncate(job)
            else:
                self.cancel(job, timed_out=True)
