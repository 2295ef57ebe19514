"""Process that uses a store: ``hammer.py URL ACTION [COUNT]``. Prints one line per call that returned."""

import os
import signal
import sys

from autotuner.store import Store
from autotuner.study.configuration import DEFAULT
from autotuner.study.trial import Trial, TrialRole, TrialState


def report(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    url = sys.argv[1]
    action = sys.argv[2]
    times = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    owner = f"owner-{os.getpid()}"
    trial = Trial(study="s", number=-1, role=TrialRole.SEARCH, configuration=DEFAULT, state=TrialState.RUNNING)
    with Store.open(url) as store:
        for i in range(times):
            match action:
                case "open":
                    report("opened")
                case "add":
                    report(store.trials.add(trial, owner_id=owner).number)
                case "append":
                    report(store.events.append("s", "notice", {"by": owner, "i": i}, at=1.0).seq)
                case "acquire":
                    mine = {"owner_id": owner, "study": "s", "trial": 0, "now": 1.0}
                    report(bool(store.leases.take([f"gpu:{i}"], **mine, dead={"dead"})))
                case "finish and die":
                    added = store.trials.add(trial, owner_id=owner)
                    done = added.model_copy(update={"state": TrialState.DONE, "finished_at": 2.0})
                    store.trials.finish(done, {"state": "done"})
                    store.events.append("s", "notice", {"text": "after"}, at=3.0)
                    store.leases.take(["gpu:0"], owner_id=owner, study="s", trial=added.number, now=3.0, dead=())
                    os.kill(os.getpid(), signal.SIGKILL)


main()
