"""What the tape drives are asked to do: the tasks of the data planner."""

from __future__ import annotations

from ds3tool.simulator.contract import kind
from ds3tool.simulator.dispatch import Call, rest
from ds3tool.simulator.records.marshalling import marshal
from ds3tool.simulator.tapes.tasks import DriveTask, TaskState
from ds3tool.simulator.wire import xmlout
from ds3tool.simulator.wire.messages import Reply, xml_reply


@rest("GetDataPlannerBlobStoreTasks")
def get_blob_store_tasks(call: Call) -> Reply:
    """List what drives are at; with `full_details` also what waits for one."""
    machine = call.machine
    with machine.store.lock:
        tasks = [
            _fields(task)
            for task in machine.drives.tasks()
            if call.has("full_details") or task.state is TaskState.IN_PROGRESS
        ]
    return xml_reply(xmlout.document(marshal(kind("BlobStoreTasksInformation"), {"Tasks": tasks})))


def _fields(task: DriveTask) -> dict[str, object]:
    drive = task.drive.id if task.drive is not None else task.drive_id
    tape = task.tape
    if tape is None and task.drive is not None:
        tape = task.drive.tape
    return {
        "DateScheduled": task.scheduled,
        "DateStarted": task.started,
        "Description": task.description,
        "DriveId": drive,
        "Id": task.id,
        "Name": task.name,
        "Priority": task.priority,
        "State": task.state.value,
        "TapeId": None if tape is None else tape.id,
    }
