"""Check of a study that is put into the queue against the stored one of its name.

The worker compares everything once it has prepared the study. What can be known without its machine is refused at once.
"""

from collections.abc import Sequence

from autotuner.errors import UsageError
from autotuner.store import StudyRecord
from autotuner.study.spec import PluginSpec, StudySpec
from autotuner.tuning.planning.resume_decision import another_file, check_pinned, other_file_problem


def refuse_other_study(record: StudyRecord, spec: StudySpec, *, results: bool, source: str, named: bool) -> None:
    """Refuses a study that differs from the stored one of its name in what is measured.

    Args:
        record: The stored study.
        spec: The study, without the settings of a machine's site file; those of the stored one are assumed.
        results: Whether results are stored, with which new ones would be compared.
        source: Absolute path of the study file.
        named: Whether the user chose the name.

    Raises:
        UsageError: If it differs, or if it has no name of its own and came from another file.
    """
    if not named and another_file(record, source):
        raise UsageError(other_file_problem(spec.name, record.source))
    if results:
        filled = spec.model_copy(update={"benchmark": _filled(spec.benchmark, [record.spec.benchmark])})
        check_pinned(record, filled.deployed(lambda given: _filled(given, record.spec.deployers)))


def _filled(given: PluginSpec, stored: Sequence[PluginSpec]) -> PluginSpec:
    alike = next((one for one in stored if one.kind == given.kind), given)
    return PluginSpec.model_validate({**alike.settings, **given.settings, "kind": given.kind})
